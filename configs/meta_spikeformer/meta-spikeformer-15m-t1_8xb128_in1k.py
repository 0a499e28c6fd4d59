_base_ = [
    '../_base_/models/meta_spikeformer/meta-spikeformer-15m.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_200e_lamb.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=128, sampler=dict(multiple_of=128))
