_base_ = [
    '../_base_/models/qkformer/hst-10-768.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_200e.py',
    '../_base_/schedules/imagenet_ema.py',
    '../_base_/default_runtime.py',
]

default_hooks = dict(checkpoint=dict(save_best='accuracy_ema/top1'))

# 16 images x 4 micro-batches to fit 32 GB: still 64 per GPU and optimizer step
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(accumulative_counts=4)
