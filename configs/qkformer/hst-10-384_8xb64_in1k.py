_base_ = [
    '../_base_/models/qkformer/hst-10-384.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_200e.py',
    '../_base_/schedules/imagenet_ema.py',
    '../_base_/default_runtime.py',
]

default_hooks = dict(checkpoint=dict(save_best='accuracy_ema/top1'))
