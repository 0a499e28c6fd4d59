# The release's behaviour: neurons leak between the images of a batch, in training and in testing.
_base_ = '../hst-4-384_1xb64_cifar100.py'

model = dict(backbone=dict(release_batch_leak=True))
