# SGD over 64 epochs of cosine; nothing is augmented or mixed. The gradient of the time constants is
# complete, unlike the release's.
_base_ = [
    '../_base_/models/sew_resnet/sew-resnet-7b.py',
    '../_base_/datasets/cifar10dvs.py',
    '../_base_/schedules/imagenet_320e_sgd.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(arch='sew-resnet-wide-7b'), head=dict(num_classes=10, in_channels=128))
data_preprocessor = dict(batch_augments=None)

# Seed, events, frames; what packs them
train_pipeline = [*_base_.train_pipeline[:3], _base_.train_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = dict(max_epochs=64)
train_cfg = dict(max_epochs=64)
auto_scale_lr = dict(base_batch_size=16)
