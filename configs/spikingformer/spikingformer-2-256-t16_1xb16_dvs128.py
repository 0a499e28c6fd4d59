_base_ = [
    '../_base_/models/spikingformer/spikingformer-2-256_events.py',
    '../_base_/datasets/dvs128.py',
    '../_base_/schedules/dvs128_192e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=11))

# As on CIFAR10-DVS, over 192 epochs
param_scheduler = dict(eta_min=1e-5)
