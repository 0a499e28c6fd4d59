# A reconstruction: the paper fine-tunes on this set and tells optimizer, batch, decay and epochs.
# That there are ten frames, and their augmentation and Mixup, are QKFormer's recipe; it trains from
# scratch, since frames have two channels and the weights of ImageNet take three.
_base_ = [
    '../_base_/models/qsd/qsd-s.py',
    '../_base_/datasets/cifar10dvs.py',
    '../_base_/schedules/cifar_transfer_100e.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(time_steps=10, in_channels=2), head=dict(num_classes=10))

train_pipeline = _base_.train_pipeline
test_pipeline = _base_.test_pipeline
for to_frames in (train_pipeline[2], test_pipeline[1]):
    to_frames.update(time_steps=10)
del to_frames
train_dataloader = dict(
    batch_size=32, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=128)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(accumulative_counts=4)
