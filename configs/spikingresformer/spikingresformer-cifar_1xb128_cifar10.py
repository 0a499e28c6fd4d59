# Directly trained: a prologue without strides, 600 epochs. Flips and RandAugment, every batch
# mixed, nothing erased.
_base_ = [
    '../_base_/models/spikingresformer/spikingresformer-ti.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/imagenet_320e.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(arch='spikingresformer-cifar'), head=dict(num_classes=10))
data_preprocessor = dict(std=[51.5865, 50.847, 51.255])

*train_pipeline, erasing, pack = _base_.train_pipeline
train_pipeline[2].update(magnitude_level=7, magnitude_std=0.5)
train_pipeline += [dict(type='PackInputs')]
del erasing, pack
train_dataloader = dict(
    batch_size=128, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=128)
)

optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = dict(max_epochs=600)
train_cfg = dict(max_epochs=600)
auto_scale_lr = dict(base_batch_size=128)
