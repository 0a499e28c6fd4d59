# 512 images per optimizer step, as the release's 8 GPUs x 64; micro-batches of 32 fit 32 GB, and
# their statistics are those of the norms.
_base_ = [
    '../_base_/models/max_former/max-former-10-384.py',
    '../_base_/datasets/imagenet_224_max_former.py',
    '../_base_/schedules/imagenet_200e.py',
    '../_base_/default_runtime.py',
]

optim_wrapper = dict(optimizer=dict(lr=2.7e-3))
param_scheduler = dict(eta_min=2.5e-6)
