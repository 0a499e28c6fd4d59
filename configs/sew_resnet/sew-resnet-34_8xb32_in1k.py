_base_ = [
    '../_base_/models/sew_resnet/sew-resnet-34.py',
    '../_base_/datasets/imagenet_224_crops.py',
    '../_base_/schedules/imagenet_320e_sgd.py',
    '../_base_/default_runtime.py',
]
