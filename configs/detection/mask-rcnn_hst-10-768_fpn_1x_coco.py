_base_ = './mask-rcnn_hst-10-384_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        arch='hst-10-768',
        init_cfg=dict(checkpoint='checkpoints/hst-10-768_in1k.pth'),
    ),
    neck=dict(in_channels=[192, 384, 768]),
)
