# ImageNet-1k as Spike-driven Transformer's script augments it, 8 GPUs x 48 images = 384 images per
# optimizer step: random crops, a weak RandAugment, 60 % of the batches mixed, nothing erased. The
# script's interpolation and the spread of RandAugment's magnitude are taken to be those of timm's
# recipe for Spikformer.
_base_ = 'imagenet_224_timm.py'

data_preprocessor = dict(
    batch_augments=dict(
        augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)], probs=[0.3, 0.3]
    )
)

train_pipeline = _base_.train_pipeline[:5]
train_pipeline[2].crop_ratio_range = (0.2, 1.0)
train_pipeline[4].magnitude_level = 5
train_pipeline += [dict(type='PackInputs')]
# A crop of 95 %: 224 / 0.95 = 235
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 235

train_dataloader = dict(
    batch_size=48, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=48)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
