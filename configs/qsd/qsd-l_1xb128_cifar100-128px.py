_base_ = 'qsd-s_1xb128_cifar100-128px.py'

model = dict(backbone=dict(arch='qsd-l'), head=dict(in_channels=640))
