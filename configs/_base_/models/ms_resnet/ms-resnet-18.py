# MS-ResNet: a quarter of the membrane stays at a step (tau 4/3), inputs do not decay, neurons fire
# above 0.5. The head averages the spikes on the last membrane. Norms start at the threshold, those
# that end a residual branch at 0; layers keep PyTorch's initialisation.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='ms-resnet-18',
        time_steps=6,
        neuron=dict(
            type='LIFNeuron',
            tau=4 / 3,
            decay_input=False,
            v_threshold=0.5,
            strict=True,
            surrogate=dict(type='RectangularSurrogate', alpha=1.0),
        ),
        norm_cfg=dict(type='SyncBN'),
        out='rates',
        init_cfg=[
            dict(type='Constant', layer=['BatchNorm2d', 'SyncBatchNorm'], val=0.5),
            dict(type='LastNorm', weight=0.0),
        ],
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=1000,
        in_channels=512,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=[],
    ),
)
