# As a log of the release ran: 64 images an optimizer step, 400 epochs and 10 more, mixup to the end
# (../spikingformer/spikingformer-4-384_1xb64_cifar10.py says why).
_base_ = [
    '../_base_/models/spikformer/spikformer-4-384_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar_400e.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(arch='cml-spikformer-4-384'), head=dict(num_classes=10))

optim_wrapper = dict(optimizer=dict(lr=5e-4))
