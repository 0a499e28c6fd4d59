# SpikingResformer: neurons with an atan surrogate, all thresholds 1; the head averages a membrane
# and has neither a neuron nor a bias. Convolutions start from a truncated normal.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='spikingresformer-ti',
        time_steps=4,
        neuron=dict(type='LIFNeuron', tau=2.0, surrogate=dict(type='ATanSurrogate', alpha=2.0)),
        out='stream',
        init_cfg=dict(type='TruncNormal', layer='Conv2d', std=0.02, bias=0.0),
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=1000,
        in_channels=384,
        bias=False,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
