# Five time steps, the paper's; the release's code has six for all.
_base_ = 'ms-resnet-18-t6_8xb32_in1k.py'

model = dict(backbone=dict(arch='ms-resnet-104', time_steps=5), head=dict(dropout=0.2))
