# As the release, 8 GPUs x 64 images, which are those of the norms' statistics too.
_base_ = [
    '../_base_/models/max_former/max-former-10-384.py',
    '../_base_/datasets/imagenet_224_max_former.py',
    '../_base_/schedules/imagenet_200e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=64)

optim_wrapper = dict(accumulative_counts=1, optimizer=dict(lr=2.7e-3))
param_scheduler = dict(eta_min=2.5e-6)
