_base_ = 'hst-10-768_8xb64_in1k.py'

model = dict(backbone=dict(time_steps=1))
