_base_ = 'qsd-s_1xb128_cifar10-128px.py'

model = dict(backbone=dict(arch='qsd-l'), head=dict(in_channels=640))
