_base_ = 'spikformer-8-384_8xb24_in1k.py'

model = dict(backbone=dict(arch='spikformer-8-512'), head=dict(in_channels=512))
