# A RECONSTRUCTION: the paper reports "Spikformer + PEDS" without describing it. Here the event
# models' PEDS stem and one PEDS take the place of SPS, without a position convolution; the blocks
# stay as they are.
_base_ = 'spikformer-2-256-t16_1xb16_cifar10dvs.py'

model = dict(
    backbone=dict(
        arch=None,
        stages=[
            dict(
                embed=dict(
                    type='PEDSStem',
                    channels=[16, 32, 64, 128],
                    pools=[False, True, True, True],
                    shortcut_from=2,
                ),
                channels=128,
                depth=0,
            ),
            dict(
                embed=dict(type='PEDS', pool='last'),
                block=dict(
                    attention=dict(type='SpikingSelfAttention', num_heads=16, scale=0.25),
                    mlp=dict(type='SpikingMLP', ratio=4),
                ),
                channels=256,
                depth=2,
            ),
        ],
    )
)
