# The erasing is that of the other CIFAR recipes: whether the release erases is not known.
_base_ = [
    '../_base_/models/sdt_v1/sdt-v1-2-512.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_300e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=100))
