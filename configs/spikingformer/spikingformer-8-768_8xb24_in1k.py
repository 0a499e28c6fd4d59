_base_ = 'spikingformer-8-384_8xb36_in1k.py'

model = dict(backbone=dict(arch='spikingformer-8-768'), head=dict(in_channels=768))

# 6,672 steps an epoch in the release's log: 192 images
train_dataloader = dict(batch_size=24, sampler=dict(multiple_of=24))
auto_scale_lr = dict(base_batch_size=192)
