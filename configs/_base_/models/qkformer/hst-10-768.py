model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='QKFormer',
        arch=dict(base='hst-10-768'),
        time_steps=4,
        neuron=dict(type='LIFNeuron', tau=2.0),
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=1000,
        in_channels=768,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
