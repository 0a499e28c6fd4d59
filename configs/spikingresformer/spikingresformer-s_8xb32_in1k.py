_base_ = 'spikingresformer-ti_8xb32_in1k.py'

model = dict(backbone=dict(arch='spikingresformer-s'), head=dict(in_channels=512))
