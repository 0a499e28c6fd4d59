# SEW-ResNet for events: neurons that learn their time constants, with an atan surrogate. Layers
# keep PyTorch's initialisation. The classifier sees the one token that 128 x 128 pixels become.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='sew-resnet-7b',
        time_steps=16,
        in_channels=2,
        neuron=dict(
            type='PLIFNeuron', init_tau=2.0, surrogate=dict(type='ATanSurrogate', alpha=2.0)
        ),
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=11,
        in_channels=32,
        loss=dict(type='CrossEntropyLoss'),
        init_cfg=[],
    ),
)
