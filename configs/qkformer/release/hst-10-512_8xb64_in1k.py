# As release/hst-10-384_8xb64_in1k.py, with the model of the middle.
_base_ = 'hst-10-384_8xb64_in1k.py'

model = dict(backbone=dict(arch=dict(base='hst-10-512')), head=dict(in_channels=512))
