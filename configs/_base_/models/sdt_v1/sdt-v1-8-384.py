# Spike-driven Transformer without the weights that its release builds and never uses. The head
# fires on the mean of the membrane over the tokens. Convolutions start from a truncated normal, the
# classifier keeps PyTorch's initialisation.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='sdt-v1-8-384',
        time_steps=4,
        neuron=dict(type='LIFNeuron', tau=2.0),
        out='stream',
        init_cfg=dict(type='TruncNormal', layer='Conv2d', std=0.02, bias=0.0),
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
