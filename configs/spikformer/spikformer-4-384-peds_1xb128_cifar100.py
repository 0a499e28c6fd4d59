# A RECONSTRUCTION: the paper reports "Spikformer + PEDS" without describing it. Here a PEDS stem
# and two PEDS take the place of SPS, without a position convolution; the blocks stay as they are.
_base_ = 'spikformer-4-384_1xb128_cifar100.py'

linear_init = dict(type='TruncNormal', layer='Conv2d', std=0.02, bias=0.0)

model = dict(
    backbone=dict(
        arch=None,
        stages=[
            dict(
                embed=dict(
                    type='PEDSStem', channels=[48, 96], pools=[False, False], shortcut_from=1
                ),
                channels=96,
                depth=0,
            ),
            dict(embed=dict(type='PEDS', pool='last'), channels=192, depth=0),
            dict(
                embed=dict(type='PEDS', pool='last'),
                block=dict(
                    attention=dict(
                        type='SpikingSelfAttention',
                        num_heads=12,
                        qkv_bias=True,
                        init_cfg=linear_init,
                    ),
                    mlp=dict(type='SpikingMLP', ratio=4, init_cfg=linear_init),
                ),
                channels=384,
                depth=4,
            ),
        ],
    )
)
