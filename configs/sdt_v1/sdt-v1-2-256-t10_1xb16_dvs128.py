_base_ = 'sdt-v1-2-256-t16_1xb16_dvs128.py'

model = dict(backbone=dict(time_steps=10))

train_pipeline = _base_.train_pipeline
test_pipeline = _base_.test_pipeline
train_pipeline[2].time_steps = test_pipeline[1].time_steps = 10
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=1e-4))
