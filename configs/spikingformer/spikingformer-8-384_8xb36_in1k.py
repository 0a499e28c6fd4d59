_base_ = [
    '../_base_/models/spikingformer/spikingformer-8-384.py',
    '../_base_/datasets/imagenet_224_timm.py',
    '../_base_/schedules/imagenet_310e.py',
    '../_base_/default_runtime.py',
]

# The release's logs have 4,448 steps an epoch, of 288 images, at the rate of Spikformer's 192
train_dataloader = dict(batch_size=36, sampler=dict(multiple_of=36))
auto_scale_lr = dict(base_batch_size=288)
