# 75 % of the batches are mixed.
_base_ = 'sdt-v1-8-512_8xb48_in1k.py'

model = dict(backbone=dict(arch='sdt-v1-10-512'))
data_preprocessor = dict(batch_augments=dict(probs=[0.375, 0.375]))

train_pipeline = _base_.train_pipeline
train_pipeline[4].magnitude_level = 7
train_dataloader = dict(
    batch_size=36, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=36)
)

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = dict(eta_min=2e-5)
auto_scale_lr = dict(base_batch_size=288)
