_base_ = [
    '../_base_/models/ms_resnet/ms-resnet-18.py',
    '../_base_/datasets/imagenet_224_autoaugment.py',
    '../_base_/schedules/imagenet_125e_sgd.py',
    '../_base_/default_runtime.py',
]
