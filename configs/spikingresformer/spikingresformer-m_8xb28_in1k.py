_base_ = 'spikingresformer-ti_8xb32_in1k.py'

model = dict(backbone=dict(arch='spikingresformer-m'), head=dict(in_channels=768))

train_pipeline = _base_.train_pipeline
train_pipeline[4].magnitude_level = 9
train_dataloader = dict(
    batch_size=28, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=28)
)
optim_wrapper = dict(optimizer=dict(lr=8e-4))
auto_scale_lr = dict(base_batch_size=224)
