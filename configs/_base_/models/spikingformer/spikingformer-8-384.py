# Spikingformer's ImageNet model without the norms that its release builds and never uses. The head
# takes the mean of the membrane, over tokens and time. 8 heads at every width.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='spikingformer-8-384',
        time_steps=4,
        neuron=dict(type='LIFNeuron', tau=2.0),
        out='stream',
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=1000,
        in_channels=384,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
