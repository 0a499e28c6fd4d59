# Spikformer's model for CIFAR10-DVS without its unused norms and position embedding. Its attention
# scales by 0.25; all four units of the stem pool.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='spikformer-2-256',
        time_steps=16,
        in_channels=2,
        neuron=dict(type='LIFNeuron', tau=2.0),
    ),
    head=dict(
        type='SpikingClsHead',
        in_channels=256,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
