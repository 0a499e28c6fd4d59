# Max-Former for event cameras; its start is taken to be that of CIFAR.
_base_ = 'max-former-4-384_cifar.py'

model = dict(
    backbone=dict(arch='max-former-2-256', time_steps=16, in_channels=2),
    head=dict(in_channels=256),
)
