_base_ = 'sdt-v1-8-512_8xb48_in1k.py'

model = dict(backbone=dict(arch='sdt-v1-6-512'))

train_pipeline = _base_.train_pipeline
train_pipeline[2].crop_ratio_range = (0.08, 1.0)
train_pipeline[4].magnitude_level = 7
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = dict(eta_min=2e-5)
