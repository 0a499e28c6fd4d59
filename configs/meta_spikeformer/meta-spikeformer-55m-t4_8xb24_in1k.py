_base_ = 'meta-spikeformer-15m-t4_8xb24_in1k.py'

model = dict(backbone=dict(arch='meta-spikeformer-55m'), head=dict(in_channels=640))
