_base_ = [
    '../_base_/models/spikformer/spikformer-8-384.py',
    '../_base_/datasets/imagenet_224_timm.py',
    '../_base_/schedules/imagenet_310e.py',
    '../_base_/default_runtime.py',
]
