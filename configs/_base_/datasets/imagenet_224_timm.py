# ImageNet-1k at 224 x 224 as timm's training script augments it. 8 GPUs x 24 images = 192 images
# per optimizer step. The crop keeps the whole area, up to its aspect ratio; the test crop too.
_base_ = 'imagenet_224.py'

# The order of timm's loader: normalised, mixed, erased
data_preprocessor = dict(
    type='ErasingDataPreprocessor',
    batch_augments=dict(
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)], probs=[0.5, 0.5]
    ),
)

# Seed and image; the crop; flip and RandAugment
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(_base_.train_pipeline[2], crop_ratio_range=(1.0, 1.0)),
    *_base_.train_pipeline[3:5],
    dict(type='DrawErasing', erase_prob=0.25, min_area_ratio=0.02, max_area_ratio=1 / 3),
    dict(type='PackInputs', algorithm_keys=('erased_box',)),
]
test_pipeline = [
    dict(type='LoadVerifiedImage'),
    dict(type='ResizeEdge', scale=224, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=24, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=24)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
