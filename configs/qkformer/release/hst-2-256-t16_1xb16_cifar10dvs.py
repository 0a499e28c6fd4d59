# The release's behaviour: neurons leak between the recordings of a batch.
_base_ = '../hst-2-256-t16_1xb16_cifar10dvs.py'

model = dict(backbone=dict(release_batch_leak=True))
