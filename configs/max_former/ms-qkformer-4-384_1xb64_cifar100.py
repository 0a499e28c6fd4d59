_base_ = 'max-former-4-384_1xb64_cifar100.py'

model = dict(backbone=dict(arch='ms-qkformer-4-384'))
