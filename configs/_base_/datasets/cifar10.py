# CIFAR-10, 64 images per optimizer step on one GPU.
dataset_type = 'BGRCIFAR10'
data_root = 'data/cifar10'
mean = [125.307, 122.961, 113.8575]
std = [62.985, 62.0925, 66.708]
bgr_fill = [round(x) for x in mean[::-1]]

data_preprocessor = dict(
    # The order of the release: normalised, mixed, erased
    type='ErasingDataPreprocessor',
    num_classes=10,
    mean=mean,
    std=std,
    to_rgb=True,
    batch_augments=dict(augments=dict(type='Mixup', alpha=0.5)),
)

train_pipeline = [
    dict(type='SeedSample'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=1,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.4,
        hparams=dict(pad_val=bgr_fill, interpolation='bicubic'),
    ),
    dict(type='DrawErasing', erase_prob=0.25, min_area_ratio=0.02, max_area_ratio=1 / 3),
    dict(type='PackInputs', algorithm_keys=('erased_box',)),
]
# The resize is for images from elsewhere
test_pipeline = [dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
    sampler=dict(type='SeededSampler', shuffle=True, multiple_of=64),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
