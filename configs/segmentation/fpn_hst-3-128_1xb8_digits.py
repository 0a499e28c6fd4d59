# The demonstration: a small spiking Semantic FPN that learns which pixels belong to which
# handwritten digit, on two CPU cores in minutes.
_base_ = [
    'mmseg::_base_/models/fpn_r50.py',
    '../_base_/datasets/digits_coco_seg.py',
    '../_base_/seg_runtime.py',
]
max_epochs = 9
norm_cfg = dict(type='BN')

model = dict(
    # Padding is canvas too: mmseg's weighted loss takes no label to be ignored
    data_preprocessor=dict(size=(128, 128), seg_pad_val=0),
    pretrained=None,
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
        # From scratch it would take many times as long to learn which digit a pixel belongs to
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{ fileDirname }}/../../weights/retinanet_hst-3-128_fpn_digits.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(in_channels=[32, 64, 128], out_channels=64, num_outs=3, norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=[64, 64, 64],
        in_index=[0, 1, 2],
        feature_strides=[4, 8, 16],
        channels=64,
        num_classes=11,
        norm_cfg=norm_cfg,
        dropout_ratio=0.0,
        # Most pixels are canvas
        loss_decode=dict(class_weight=[0.25, *10 * [1.0]]),
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
default_hooks = dict(
    logger=dict(interval=62, log_metric_by_epoch=True), checkpoint=dict(by_epoch=True, interval=1)
)
log_processor = dict(by_epoch=True)
auto_scale_lr = dict(base_batch_size=8, enable=False)
