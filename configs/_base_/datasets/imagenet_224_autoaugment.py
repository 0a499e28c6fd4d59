# ImageNet-1k with random crops and torchvision's AutoAugment, without flips; pixels that come in
# from outside are black, geometric operations take the nearest pixel.
_base_ = 'imagenet_224_crops.py'

train_pipeline = _base_.train_pipeline
train_pipeline[3] = dict(
    type='AutoAugment', policies='imagenet', hparams=dict(pad_val=0, interpolation='nearest')
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
