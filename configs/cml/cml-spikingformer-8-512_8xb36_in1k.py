_base_ = '../spikingformer/spikingformer-8-512_8xb36_in1k.py'

model = dict(backbone=dict(arch='cml-spikingformer-8-512'))
