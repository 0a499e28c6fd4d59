_base_ = 'spikingformer-8-384_8xb36_in1k.py'

model = dict(backbone=dict(arch='spikingformer-8-512'), head=dict(in_channels=512))
