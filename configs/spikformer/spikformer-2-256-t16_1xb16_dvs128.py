# Spikformer's repository has no code for this set: QKFormer's recipe.
_base_ = [
    '../_base_/models/spikformer/spikformer-2-256_events.py',
    '../_base_/datasets/dvs128.py',
    '../_base_/schedules/dvs128_192e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=11))
