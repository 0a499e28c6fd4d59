# Neck and heads are wider, as the release has them for this size.
_base_ = 'mask-rcnn_qsd-s_spiking-fpn_1x_coco.py'

model = dict(
    backbone=dict(arch='qsd-m', init_cfg=dict(checkpoint='checkpoints/qsd-m_in1k.pth')),
    neck=dict(in_channels=[96, 192, 384, 480], out_channels=384),
    rpn_head=dict(in_channels=384, feat_channels=384),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=384),
        bbox_head=dict(in_channels=384, fc_out_channels=1536),
        mask_roi_extractor=dict(out_channels=384),
        mask_head=dict(in_channels=384, conv_out_channels=384),
    ),
)
