# Directly trained on 64 x 64 frames, to which the sum of the polarities is a third channel; plain
# cross-entropy, nothing mixed. The release scales frames down by interpolation, which here are
# counts of larger pixels, and rolls, rotates or cuts out; EventAugment is QKFormer's.
_base_ = [
    '../_base_/models/spikingresformer/spikingresformer-ti.py',
    '../_base_/datasets/cifar10dvs.py',
    '../_base_/schedules/imagenet_320e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(arch='spikingresformer-cifar', time_steps=16),
    head=dict(num_classes=10, loss=dict(_delete_=True, type='CrossEntropyLoss')),
)
data_preprocessor = dict(add_sum=True, batch_augments=None)

train_pipeline = _base_.train_pipeline
test_pipeline = _base_.test_pipeline
train_pipeline[2].size = test_pipeline[1].size = (64, 64)
train_dataloader = dict(
    batch_size=8, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=8)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=5e-4, weight_decay=0.05))
param_scheduler = dict(max_epochs=300)
train_cfg = dict(max_epochs=300)
auto_scale_lr = dict(base_batch_size=8)
