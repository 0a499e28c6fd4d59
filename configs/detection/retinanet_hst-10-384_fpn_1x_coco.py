_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmdet::_base_/datasets/coco_detection.py',
    '../_base_/schedules/coco_1x.py',
    '../_base_/det_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='QKFormer',
        arch='hst-10-384',
        time_steps=4,
        out_indices=(0, 1, 2),
        # Three images are few for a norm: it keeps the statistics of the classification
        norm_eval=True,
        # Activations of three large images would not fit 32 GB
        with_cp=True,
        # Trained with configs/qkformer/ or converted from the release, see README.md
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/hst-10-384_in1k.pth', prefix='backbone.'
        ),
    ),
    # Strides 8 and 16; FPN adds 32, 64 and 128
    neck=dict(in_channels=[96, 192, 384]),
)
train_dataloader = dict(batch_size=3)
