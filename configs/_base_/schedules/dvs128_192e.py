# As CIFAR10-DVS, over 192 epochs and 10 more.
_base_ = 'cifar10dvs_96e.py'

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = dict(max_epochs=192, eta_min=2e-5)
train_cfg = dict(max_epochs=202)
