# Films of scikit-learn's digits by the event camera in software, 34 x 34 pixels:
# tools/demo_events.sh makes them.
dataset_type = 'EventDataset'
data_root = 'data/digits_events'

data_preprocessor = dict(type='EventDataPreprocessor', num_classes=10)

to_frames = dict(type='EventsToFrames', time_steps=8, split_by='number')
train_pipeline = [
    dict(type='SeedSample'),
    dict(type='LoadEvents'),
    to_frames,
    # Half the policy: digits are small, and mirrored or turned they are others
    dict(type='EventAugment', shear=0.15, translate=3, rotate=10.0, cutout=(0.001, 0.05)),
    dict(type='PackEvents'),
]
test_pipeline = [dict(type='LoadEvents'), to_frames, dict(type='PackEvents')]

train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    drop_last=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
    sampler=dict(type='SeededSampler', shuffle=True, multiple_of=32),
)
val_dataloader = dict(
    batch_size=60,
    num_workers=0,
    dataset=dict(type=dataset_type, data_root=data_root, split='val', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader = dict(
    batch_size=60,
    num_workers=0,
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_evaluator = val_evaluator
