# A RECONSTRUCTION: the paper reports "Spikformer + PEDS" without describing it. Here a PEDS stem
# and two PEDS take the place of SPS, without a position convolution; the blocks stay as they are.
_base_ = 'spikformer-4-384_1xb128_cifar100.py'

model = dict(
    backbone=dict(
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
                block=_base_.model.backbone.stages[0].block,
                channels=384,
                depth=4,
            ),
        ]
    )
)
