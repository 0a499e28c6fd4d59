_base_ = 'qsd-s_8xb196_in1k.py'

model = dict(backbone=dict(arch='qsd-m'), head=dict(in_channels=480))
