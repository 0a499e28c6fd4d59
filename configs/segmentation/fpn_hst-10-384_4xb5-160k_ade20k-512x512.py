_base_ = [
    'mmseg::_base_/models/fpn_r50.py',
    'mmseg::_base_/datasets/ade20k.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/seg_runtime.py',
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='QKFormer',
        arch='hst-10-384',
        time_steps=4,
        norm_cfg=dict(type='SyncBN'),
        out_indices=(0, 1, 2),
        # Trained with configs/qkformer/ or converted from the release, see README.md
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/hst-10-384_in1k.pth', prefix='backbone.'
        ),
    ),
    neck=dict(in_channels=[96, 192, 384], num_outs=3),
    decode_head=dict(
        in_channels=[256, 256, 256],
        in_index=[0, 1, 2],
        feature_strides=[4, 8, 16],
        num_classes=150,
    ),
)
train_dataloader = dict(batch_size=5)
