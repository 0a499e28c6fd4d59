# Spikformer's model for CIFAR10-DVS without its unused norms and position embedding. Its attention
# scales by 0.25; all four units of the stem pool.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='QKFormer',
        time_steps=16,
        in_channels=2,
        neuron=dict(type='LIFNeuron', tau=2.0),
        stages=[
            dict(
                embed=dict(
                    type='SPS',
                    channels=[32, 64, 128, 256],
                    pools=[True, True, True, True],
                ),
                block=dict(
                    attention=dict(type='SpikingSelfAttention', num_heads=16, scale=0.25),
                    mlp=dict(type='SpikingMLP', ratio=4),
                ),
                channels=256,
                depth=2,
            ),
        ],
    ),
    head=dict(
        type='SpikingClsHead',
        in_channels=256,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
