# The strides and the recipe of the release, to reproduce it. It takes the last level of the
# backbone for one of stride 32, which has 16: regions and anchors of the last two levels are off by
# 2. Steps, layer scales and norms decay, as its rule for norms matches none. Not known is the
# number of GPUs, here the paper's 4. In evaluation alone, its neck emits at most one spike:
# --cfg-options model.neck.neuron.levels=1
_base_ = 'mask-rcnn_qsd-s_spiking-fpn_1x_coco.py'

strides = [4, 8, 16, 32]
model = dict(
    rpn_head=dict(anchor_generator=dict(strides=[*strides, 64], base_sizes=None)),
    roi_head=dict(
        bbox_roi_extractor=dict(featmap_strides=strides),
        mask_roi_extractor=dict(featmap_strides=strides),
    ),
)

scales = [(1333, side) for side in range(480, 801, 32)]
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(853, 512), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='RandomChoiceResize', scales=scales, keep_ratio=True)],
            [
                dict(
                    type='RandomChoiceResize',
                    scales=[(1333, 400), (1333, 500), (1333, 600)],
                    keep_ratio=True,
                ),
                dict(
                    type='RandomCrop',
                    crop_type='absolute_range',
                    crop_size=(384, 600),
                    allow_negative_crop=True,
                ),
                dict(type='RandomChoiceResize', scales=scales, keep_ratio=True),
            ],
        ],
    ),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(lr=2e-4),
    paramwise_cfg=dict(norm_decay_mult=1.0, flat_decay_mult=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', begin=0, end=15, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
train_cfg = dict(max_epochs=15)
auto_scale_lr = dict(base_batch_size=32)
