_base_ = 'hst-2-256-t16_1xb16_dvs128.py'

model = dict(backbone=dict(neuron=dict(_delete_=True, type='IFNeuron')))
