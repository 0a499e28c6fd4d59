# Norms are synchronised over the GPUs; the running rates of the attentions are not, as in the
# release.
_base_ = 'spikingresformer-m_8xb28_in1k.py'

model = dict(
    backbone=dict(arch='spikingresformer-l', norm_cfg=dict(type='SyncBN')),
    head=dict(in_channels=1024),
)

train_pipeline = _base_.train_pipeline
train_pipeline[4].num_policies = 3
train_dataloader = dict(
    batch_size=16, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=16)
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=128)
