# ImageNet-1k with random crops and flips alone, torchvision's bilinear resizing, 8 GPUs x 32 images
# = 256 images per optimizer step.
_base_ = 'imagenet_224.py'

train_pipeline = [*_base_.train_pipeline[:4], dict(type='PackInputs')]
train_pipeline[2].interpolation = 'bilinear'
test_pipeline = _base_.test_pipeline
test_pipeline[1].interpolation = 'bilinear'

train_dataloader = dict(
    batch_size=32, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=32)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
