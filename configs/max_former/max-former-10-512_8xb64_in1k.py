_base_ = 'max-former-10-384_8xb64_in1k.py'

model = dict(backbone=dict(arch='max-former-10-512'), head=dict(in_channels=512))
data_preprocessor = dict(
    batch_augments=dict(augments=[dict(type='Mixup', alpha=0.4), dict(type='CutMix', alpha=1.0)])
)

param_scheduler = dict(eta_min=1e-6)
