_base_ = [
    '../_base_/models/spikingformer/spikingformer-2-256_events.py',
    '../_base_/datasets/cifar10dvs.py',
    '../_base_/schedules/cifar10dvs_96e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=10))

optim_wrapper = dict(optimizer=dict(lr=1e-3))
