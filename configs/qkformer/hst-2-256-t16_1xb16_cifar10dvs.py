_base_ = [
    '../_base_/models/qkformer/hst-2-256.py',
    '../_base_/datasets/cifar10dvs.py',
    '../_base_/schedules/cifar10dvs_96e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=10))
