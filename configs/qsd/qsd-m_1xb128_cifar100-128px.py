_base_ = 'qsd-s_1xb128_cifar100-128px.py'

model = dict(backbone=dict(arch='qsd-m'), head=dict(in_channels=480))
