_base_ = [
    '../_base_/models/qkformer/hst-4-384.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_400e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=100))
