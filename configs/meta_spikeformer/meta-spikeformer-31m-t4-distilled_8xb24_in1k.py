_base_ = 'meta-spikeformer-15m-t4-distilled_8xb24_in1k.py'

model = dict(backbone=dict(arch='meta-spikeformer-31m'), head=dict(in_channels=480))
