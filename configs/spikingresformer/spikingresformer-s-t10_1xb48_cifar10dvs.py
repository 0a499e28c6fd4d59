# Fine-tunes the ImageNet weights (load_from; the classifier is a new one) on 10 frames of
# 128 x 128.
_base_ = 'spikingresformer-cifar-t16_1xb8_cifar10dvs.py'

model = dict(backbone=dict(arch='spikingresformer-s', time_steps=10), head=dict(in_channels=512))

train_pipeline = _base_.train_pipeline
test_pipeline = _base_.test_pipeline
for to_frames in (train_pipeline[2], test_pipeline[1]):
    to_frames.update(time_steps=10, size=(128, 128))
del to_frames
train_dataloader = dict(
    batch_size=48, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=48)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=4e-5, weight_decay=0.01))
param_scheduler = dict(max_epochs=100)
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=48)
