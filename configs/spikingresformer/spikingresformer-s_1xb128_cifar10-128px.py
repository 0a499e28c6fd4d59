# Fine-tunes the ImageNet weights (load_from; the classifier is a new one) on images scaled up to
# 128 x 128.
_base_ = 'spikingresformer-cifar_1xb128_cifar10.py'

model = dict(backbone=dict(arch='spikingresformer-s'), head=dict(in_channels=512))

resize = dict(type='Resize', scale=(128, 128), backend='pillow', interpolation='bicubic')
train_pipeline = _base_.train_pipeline
train_pipeline.insert(1, resize)
train_pipeline[3].update(magnitude_level=9, magnitude_std=0.4)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_pipeline = [resize, dict(type='PackInputs')]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = dict(max_epochs=100)
train_cfg = dict(max_epochs=100)
