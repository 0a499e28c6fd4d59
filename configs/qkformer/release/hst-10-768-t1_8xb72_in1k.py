# One time step. The release's batch for it is not known; this is the one of four time steps.
_base_ = 'hst-10-768_8xb72_in1k.py'

model = dict(backbone=dict(time_steps=1))
