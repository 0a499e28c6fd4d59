_base_ = './fpn_hst-10-384_4xb5-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        arch='hst-10-768',
        # Its activations of five images would not fit 32 GB, see docs/v100.md
        with_cp=True,
        init_cfg=dict(checkpoint='checkpoints/hst-10-768_in1k.pth'),
    ),
    neck=dict(in_channels=[192, 384, 768]),
)
