_base_ = './fpn_hst-10-384_4xb5-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        arch='hst-10-768',
        init_cfg=dict(checkpoint='checkpoints/hst-10-768_in1k.pth'),
    ),
    neck=dict(in_channels=[192, 384, 768]),
)
