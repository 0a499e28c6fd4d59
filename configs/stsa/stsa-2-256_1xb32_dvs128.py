# 32 recordings per optimizer step, as the README of the release says; its code has 8. In float32,
# without warm-up. Norms and biases do not decay; in the release they do, by 1e-4 as everything.
_base_ = [
    '../_base_/models/stsa/stsa-2-256.py',
    '../_base_/datasets/dvs128.py',
    '../_base_/schedules/cifar_300e.py',
    '../_base_/default_runtime.py',
]

data_preprocessor = dict(batch_augments=None)
train_pipeline = _base_.train_pipeline[:3]
train_pipeline += [dict(type='EventRoll', shift=5), dict(type='PackEvents')]
test_pipeline = _base_.test_pipeline
for to_frames in (train_pipeline[2], test_pipeline[1]):
    to_frames.time_steps = 10
del to_frames
train_dataloader = dict(
    batch_size=32, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=32)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=1e-2, weight_decay=1e-4))
param_scheduler = dict(warmup_start=0.0, warmup_epochs=0, max_epochs=1000, eta_min=1e-6)
train_cfg = dict(max_epochs=1000)
custom_hooks = []
auto_scale_lr = dict(base_batch_size=32)
