# ImageNet-1k at 224 x 224 as timm's training script augments it. 8 GPUs x 24 images = 192 images
# per optimizer step. The crop keeps the whole area, up to its aspect ratio; the test crop too.
dataset_type = 'ImageNet'
data_root = 'data/imagenet'
mean = [123.675, 116.28, 103.53]
std = [58.395, 57.12, 57.375]
bgr_fill = [round(x) for x in mean[::-1]]

data_preprocessor = dict(
    # The order of timm's loader: normalised, mixed, erased
    type='ErasingDataPreprocessor',
    num_classes=1000,
    mean=mean,
    std=std,
    to_rgb=True,
    batch_augments=dict(
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)], probs=[0.5, 0.5]
    ),
)

train_pipeline = [
    dict(type='SeedSample'),
    dict(type='LoadVerifiedImage'),
    dict(
        type='RandomResizedCrop',
        scale=224,
        crop_ratio_range=(1.0, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=bgr_fill, interpolation='bicubic'),
    ),
    dict(type='DrawErasing', erase_prob=0.25, min_area_ratio=0.02, max_area_ratio=1 / 3),
    dict(type='PackInputs', algorithm_keys=('erased_box',)),
]
test_pipeline = [
    dict(type='LoadVerifiedImage'),
    dict(type='ResizeEdge', scale=224, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=24,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
    sampler=dict(type='SeededSampler', shuffle=True, multiple_of=24),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='val', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
