# The release's behaviour: neurons leak between the recordings of a batch;
# its larger MLP; its numbers of the classes.
_base_ = '../hst-2-256-t16-mlp4_1xb16_dvs128.py'

model = dict(backbone=dict(release_batch_leak=True))

train_dataloader = dict(dataset=dict(label_order='folder'))
val_dataloader = dict(dataset=dict(label_order='folder'))
test_dataloader = dict(dataset=dict(label_order='folder'))
