# Fine-tunes the weights of ImageNet (load_from) at 128 x 128. Optimizer, batch, decay and mixing
# are the paper's text, the magnitude of RandAugment its table, which has another recipe: LAMB at
# 6e-4, 256 images per optimizer step, decay 0.05, no label smoothing. What neither tells is not
# done (crops, erasing) or our choice: how often images are mixed, how they are resized and
# normalised, the least rate.
_base_ = [
    '../_base_/models/qsd/qsd-s.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar_transfer_100e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=10))
data_preprocessor = dict(
    type='ClsDataPreprocessor',
    batch_augments=dict(
        _delete_=True,
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)],
        probs=[0.5, 0.5],
    ),
)

resize = dict(type='Resize', scale=(128, 128), backend='pillow', interpolation='bicubic')
train_pipeline = [
    dict(type='SeedSample'),
    resize,
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=_base_.bgr_fill, interpolation='bicubic'),
    ),
    dict(type='PackInputs'),
]
test_pipeline = [resize, dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=128, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=128)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
