_base_ = '../spikingformer/spikingformer-8-768_8xb24_in1k.py'

model = dict(backbone=dict(arch='cml-spikingformer-8-768'))
