_base_ = 'max-former-4-384_1xb128_cifar10.py'

model = dict(backbone=dict(arch='ms-qkformer-4-384'))
