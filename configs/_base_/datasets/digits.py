# scikit-learn's 1,797 handwritten digits of 8 x 8 pixels: real images that need no download.
mean = [77.9, 77.9, 77.9]
std = [95.9, 95.9, 95.9]

data_preprocessor = dict(
    type='ClsDataPreprocessor',
    num_classes=10,
    mean=mean,
    std=std,
    to_rgb=False,
    batch_augments=dict(augments=dict(type='Mixup', alpha=0.2)),
)

train_pipeline = [
    dict(type='SeedSample'),
    dict(type='RandomCrop', crop_size=8, padding=1),
    dict(
        type='Rotate',
        angle=10.0,
        prob=0.7,
        random_negative_prob=0.5,
        interpolation='bilinear',
    ),
    dict(type='PackInputs'),
]
# The resize is for images from elsewhere
test_pipeline = [dict(type='Resize', scale=(8, 8)), dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    drop_last=True,
    dataset=dict(type='Digits', split='train', pipeline=train_pipeline),
    sampler=dict(type='SeededSampler', shuffle=True, multiple_of=64),
)
val_dataloader = dict(
    batch_size=180,
    num_workers=0,
    dataset=dict(type='Digits', split='val', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader = dict(
    batch_size=180,
    num_workers=0,
    dataset=dict(type='Digits', split='test', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_evaluator = val_evaluator
