_base_ = [
    '../_base_/models/qkformer/hst-10-768.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_200e.py',
    '../_base_/schedules/imagenet_ema.py',
    '../_base_/default_runtime.py',
]

default_hooks = dict(checkpoint=dict(save_best='accuracy_ema/top1'))

# 16 images x 4 micro-batches are what fits 32 GB, see docs/v100.md: still 64 per GPU and step
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(accumulative_counts=4)
