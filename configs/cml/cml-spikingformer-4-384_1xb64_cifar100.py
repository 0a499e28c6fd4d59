# Normalised by the mean and std of CIFAR-10, 8 heads, mixup to the end: as Spikingformer.
_base_ = '../spikingformer/spikingformer-4-384_1xb64_cifar100.py'

model = dict(backbone=dict(arch=dict(base='cml-spikingformer-4-384')))
