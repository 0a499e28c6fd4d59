# Images are normalised by the mean and std of CIFAR-10, as in the release. The schedule, with its
# mixup that never ends, is that of CIFAR-10.
_base_ = [
    '../_base_/models/spikingformer/spikingformer-4-384_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_400e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    # Of the release's settings; those for CIFAR-10 have 12 heads
    backbone=dict(arch=dict(_delete_=True, base='spikingformer-4-384', num_heads=8)),
    head=dict(num_classes=100),
)

optim_wrapper = dict(optimizer=dict(lr=5e-4))
