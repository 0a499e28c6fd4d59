# As on CIFAR10-DVS; neurons learn their time constants.
_base_ = 'spikingresformer-cifar-t16_1xb8_cifar10dvs.py'

neuron = dict(
    _delete_=True,
    type='PLIFNeuron',
    init_tau=2.0,
    surrogate=dict(type='ATanSurrogate', alpha=2.0),
)
model = dict(
    backbone=dict(arch='spikingresformer-gesture', neuron=neuron),
    head=dict(num_classes=11, in_channels=192),
)
data_preprocessor = dict(num_classes=11)

dataset = dict(type='DVS128Gesture', data_root='data/dvs128gesture')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

optim_wrapper = dict(optimizer=dict(lr=1e-4))
