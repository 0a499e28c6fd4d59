_base_ = 'qsd-s_1xb128_cifar10-128px.py'

model = dict(backbone=dict(arch='qsd-m'), head=dict(in_channels=480))
