_base_ = [
    '../_base_/models/qkformer/hst-2-256.py',
    '../_base_/datasets/dvs128.py',
    '../_base_/schedules/dvs128_192e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=11))
