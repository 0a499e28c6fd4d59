_base_ = 'sdt-v1-8-384_8xb48_in1k.py'

model = dict(backbone=dict(arch='sdt-v1-8-512'), head=dict(in_channels=512))
