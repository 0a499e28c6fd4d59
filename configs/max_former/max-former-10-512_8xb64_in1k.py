# 32 images are what fits 32 GB of 64 on a GPU, see docs/v100.md: the norms' statistics are theirs.
_base_ = 'max-former-10-384_8xb64_in1k.py'

model = dict(backbone=dict(arch='max-former-10-512'), head=dict(in_channels=512))
data_preprocessor = dict(
    batch_augments=dict(augments=[dict(type='Mixup', alpha=0.4), dict(type='CutMix', alpha=1.0)])
)
train_dataloader = dict(batch_size=32)

optim_wrapper = dict(accumulative_counts=2)
param_scheduler = dict(eta_min=1e-6)
