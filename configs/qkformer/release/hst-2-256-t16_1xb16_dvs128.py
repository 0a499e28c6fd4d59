# As release/hst-2-256-t16_1xb16_cifar10dvs.py; also the release's larger MLP and its numbers of the
# classes.
_base_ = '../hst-2-256-t16-mlp4_1xb16_dvs128.py'

model = dict(backbone=dict(release_batch_leak=True))

train_dataloader = dict(dataset=dict(label_order='folder'))
val_dataloader = dict(
    dataset=dict(label_order='folder'), batch_sampler=dict(type='ContiguousBatchSampler')
)
test_dataloader = val_dataloader
val_cfg = dict(fp16=True)
test_cfg = dict(fp16=True)
