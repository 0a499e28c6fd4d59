_base_ = 'hst-4-384_1xb64_cifar100.py'

model = dict(backbone=dict(time_steps=2))
