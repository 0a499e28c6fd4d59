# Max-Former for ImageNet. The head fires on the mean of the membrane over the tokens. All
# convolutions but the attention's start from a truncated normal; the classifier keeps PyTorch's
# initialisation.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='max-former-10-384',
        time_steps=4,
        neuron=dict(type='LIFNeuron', tau=2.0),
        out='stream',
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=1000,
        in_channels=384,
        neuron=dict(type='LIFNeuron', tau=2.0),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=[],
    ),
)
