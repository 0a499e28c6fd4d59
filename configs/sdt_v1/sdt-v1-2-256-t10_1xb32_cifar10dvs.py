# 64 x 64 frames and the loss of every time step (TET). Augmentation, Mixup until epoch 75 and mixed
# precision are QKFormer's recipe for this set: the release's are not known.
_base_ = [
    '../_base_/models/sdt_v1/sdt-v1-8-384.py',
    '../_base_/datasets/cifar10dvs.py',
    '../_base_/schedules/cifar10dvs_96e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(arch='sdt-v1-2-256-dvs', time_steps=10, in_channels=2),
    head=dict(num_classes=10, in_channels=256, loss_on='steps', mse_weight=1e-3, mse_target=1.0),
)

train_pipeline = _base_.train_pipeline
test_pipeline = _base_.test_pipeline
for to_frames in (train_pipeline[2], test_pipeline[1]):
    to_frames.update(time_steps=10, size=(64, 64))
del to_frames
train_dataloader = dict(
    batch_size=32, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=32)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=7.5e-3, weight_decay=1e-4))
param_scheduler = dict(warmup_start=1e-3, max_epochs=200, eta_min=3e-4)
train_cfg = dict(max_epochs=210)
auto_scale_lr = dict(base_batch_size=32)
