_base_ = 'hst-4-384_1xb64_cifar100.py'

model = dict(backbone=dict(neuron=dict(_delete_=True, type='PLIFNeuron', init_tau=2.0)))
