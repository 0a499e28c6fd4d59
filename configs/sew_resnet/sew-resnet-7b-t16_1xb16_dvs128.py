# SGD over 192 epochs, the rate a tenth from epochs 64 and 128 on. The release trains on 12 random
# frames of the 16, and with an incomplete gradient of the time constants; here they are all 16, and
# it is complete.
_base_ = [
    '../_base_/models/sew_resnet/sew-resnet-7b.py',
    '../_base_/datasets/dvs128.py',
    '../_base_/schedules/imagenet_320e_sgd.py',
    '../_base_/default_runtime.py',
]

data_preprocessor = dict(batch_augments=None)

# Seed, events, frames; what packs them
train_pipeline = [*_base_.train_pipeline[:3], _base_.train_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = dict(_delete_=True, type='StepLR', step_size=64, gamma=0.1)
train_cfg = dict(max_epochs=192)
auto_scale_lr = dict(base_batch_size=16)
