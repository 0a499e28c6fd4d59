# CIFAR10-DVS as 16 frames of equally many events, 16 recordings per optimizer step on one GPU.
dataset_type = 'CIFAR10DVS'
data_root = 'data/cifar10dvs'

data_preprocessor = dict(
    type='EventDataPreprocessor',
    num_classes=10,
    # Half of the batches are mixed
    batch_augments=dict(augments=dict(type='Mixup', alpha=0.5), probs=0.5),
)

train_pipeline = [
    dict(type='SeedSample'),
    dict(type='LoadEvents'),
    dict(type='EventsToFrames', time_steps=16, split_by='number'),
    dict(type='EventFlip', prob=0.5, direction='horizontal'),
    dict(type='EventAugment'),
    dict(type='PackEvents'),
]
test_pipeline = [
    dict(type='LoadEvents'),
    dict(type='EventsToFrames', time_steps=16, split_by='number'),
    dict(type='PackEvents'),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
    sampler=dict(type='SeededSampler', shuffle=True, multiple_of=16),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
