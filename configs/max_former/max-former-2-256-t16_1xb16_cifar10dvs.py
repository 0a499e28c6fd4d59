# Half of the batches are mixed, until epoch 75. CutMix is made for images: of frames
# [B, T, 2, H, W] its box cuts polarities and rows, in the release as here.
_base_ = [
    '../_base_/models/max_former/max-former-2-256_events.py',
    '../_base_/datasets/cifar10dvs.py',
    '../_base_/schedules/cifar10dvs_96e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=10))
data_preprocessor = dict(
    batch_augments=dict(
        augments=[dict(type='Mixup', alpha=0.5), dict(type='CutMix', alpha=0.1)],
        probs=[0.25, 0.25],
    )
)
