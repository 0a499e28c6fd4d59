_base_ = 'qsd-s_8xb196_in1k.py'

model = dict(backbone=dict(arch='qsd-l'), head=dict(in_channels=640))
