# Warm-up, rates and augmentation are the release's; the paper's table has 10 epochs of warm-up. The
# release also averages the weights and saves the others, so that here is no average.
_base_ = [
    '../_base_/models/qsd/qsd-s.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_200e_lamb.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=196, sampler=dict(multiple_of=196))
# 6e-4 for 256 images
optim_wrapper = dict(optimizer=dict(lr=3.675e-3))
param_scheduler = dict(warmup_epochs=15, max_epochs=300)
train_cfg = dict(max_epochs=300)
auto_scale_lr = dict(base_batch_size=1568)
