_base_ = [
    '../_base_/models/sdt_v1/sdt-v1-8-384.py',
    '../_base_/datasets/imagenet_224_sdt.py',
    '../_base_/schedules/imagenet_310e_lamb.py',
    '../_base_/default_runtime.py',
]
