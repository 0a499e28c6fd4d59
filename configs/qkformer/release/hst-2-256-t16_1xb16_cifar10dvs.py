# The release's behaviour: neurons leak between the recordings of a batch, in training and in
# testing; tests are in float16, and their batches those of one process.
_base_ = '../hst-2-256-t16_1xb16_cifar10dvs.py'

model = dict(backbone=dict(release_batch_leak=True))
val_dataloader = dict(batch_sampler=dict(type='ContiguousBatchSampler'))
test_dataloader = val_dataloader
val_cfg = dict(fp16=True)
test_cfg = dict(fp16=True)
