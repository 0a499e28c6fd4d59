# ImageNet-1k as for QKFormer, and half of the batches mixed, by Mixup as often as by CutMix.
_base_ = 'imagenet_224.py'

# Nothing is erased behind the mixing; mmpretrain's own preprocessor would change its config
data_preprocessor = dict(
    type='ErasingDataPreprocessor',
    batch_augments=dict(
        augments=[dict(type='Mixup', alpha=0.25), dict(type='CutMix', alpha=1.0)],
        probs=[0.25, 0.25],
    ),
)
