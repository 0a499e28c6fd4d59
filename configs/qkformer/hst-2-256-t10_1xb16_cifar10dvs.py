_base_ = 'hst-2-256-t16_1xb16_cifar10dvs.py'

model = dict(backbone=dict(time_steps=10))

# The same pipelines with another number of frames
frames = dict(type='EventsToFrames', time_steps=10, split_by='number')
train_dataloader = dict(
    dataset=dict(pipeline=[*_base_.train_pipeline[:2], frames, *_base_.train_pipeline[3:]])
)
val_dataloader = dict(
    dataset=dict(pipeline=[_base_.test_pipeline[0], frames, _base_.test_pipeline[2]])
)
test_dataloader = val_dataloader
