_base_ = 'sew-resnet-34_8xb32_in1k.py'

model = dict(backbone=dict(arch='sew-resnet-101'), head=dict(in_channels=2048))
