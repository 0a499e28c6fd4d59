# CML's rule applied to Spikformer, see cml-spikformer-8-384_8xb24_in1k.py.
_base_ = '../spikformer/spikformer-8-768_8xb24_in1k.py'

model = dict(backbone=dict(arch='cml-spikformer-8-768'))
