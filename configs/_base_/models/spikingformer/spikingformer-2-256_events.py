# Spikingformer's model for event cameras: tau is 1.5 for every neuron.
_base_ = 'spikingformer-8-384.py'

model = dict(
    backbone=dict(arch='spikingformer-2-256', time_steps=16, in_channels=2, neuron=dict(tau=1.5)),
    head=dict(num_classes=None, in_channels=256),
)
