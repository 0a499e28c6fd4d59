# SEW-ResNet: neurons without leak, with an atan surrogate. The classifier keeps PyTorch's
# initialisation.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='sew-resnet-34',
        time_steps=4,
        neuron=dict(type='IFNeuron', surrogate=dict(type='ATanSurrogate', alpha=2.0)),
        init_cfg=dict(type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu'),
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=1000,
        in_channels=512,
        loss=dict(type='CrossEntropyLoss'),
        init_cfg=[],
    ),
)
