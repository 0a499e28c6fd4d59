# ImageNet-1k as SpikingResformer's script augments it, 8 GPUs x 32 images = 256 images per
# optimizer step: every batch is mixed, nothing erased.
_base_ = 'imagenet_224_sdt.py'

data_preprocessor = dict(batch_augments=dict(probs=[0.5, 0.5]))

train_pipeline = _base_.train_pipeline
train_pipeline[2].crop_ratio_range = (0.08, 1.0)
train_pipeline[4].magnitude_level = 7

train_dataloader = dict(
    batch_size=32, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=32)
)
