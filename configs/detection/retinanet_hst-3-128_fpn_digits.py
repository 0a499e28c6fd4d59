# The demonstration: a small spiking RetinaNet that learns to find handwritten digits on two CPU
# cores in minutes.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/digits_coco_det.py',
    '../_base_/det_runtime.py',
]
max_epochs = 8

model = dict(
    backbone=dict(
        _delete_=True,
        type='QKFormer',
        arch=dict(
            embed_dims=[32, 64, 128],
            depths=[1, 1, 1],
            num_heads=[4, 4, 4],
            mlp_ratios=[2, 2, 2],
            attentions=['QKTokenAttention', 'QKTokenAttention', 'SpikingSelfAttention'],
            stem=dict(channels=[16, 32], pools=[True, True], shortcut_from=1),
            pool='first',
        ),
        time_steps=2,
        out_indices=(0, 1, 2),
    ),
    neck=dict(
        in_channels=[32, 64, 128],
        out_channels=64,
        start_level=1,
        num_outs=2,
        norm_cfg=dict(type='BN'),
        add_extra_convs=False,
    ),
    bbox_head=dict(
        num_classes=10,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=dict(type='BN'),
        anchor_generator=dict(octave_base_scale=2, strides=[8, 16]),
    ),
)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = dict(
    type='WarmupCosineLR',
    warmup_epochs=1,
    max_epochs=max_epochs,
    eta_min=1e-5,
    convert_to_iter_based=True,
)
train_cfg = dict(type='ResumableTrainLoop', max_epochs=max_epochs, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
