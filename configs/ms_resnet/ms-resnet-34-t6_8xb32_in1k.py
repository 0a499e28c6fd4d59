_base_ = 'ms-resnet-18-t6_8xb32_in1k.py'

model = dict(backbone=dict(arch='ms-resnet-34'))
