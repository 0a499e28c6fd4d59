_base_ = [
    '../_base_/models/spikingresformer/spikingresformer-ti.py',
    '../_base_/datasets/imagenet_224_spikingresformer.py',
    '../_base_/schedules/imagenet_320e.py',
    '../_base_/default_runtime.py',
]
