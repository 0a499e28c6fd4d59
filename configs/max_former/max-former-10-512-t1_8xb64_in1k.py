# One time step: another rate, and weaker mixing than with four. All 64 images of a GPU's step fit.
_base_ = 'max-former-10-512_8xb64_in1k.py'

model = dict(backbone=dict(time_steps=1))
data_preprocessor = dict(
    batch_augments=dict(augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)])
)
train_dataloader = dict(batch_size=64)

optim_wrapper = dict(accumulative_counts=1, optimizer=dict(lr=2.4e-3))
param_scheduler = dict(eta_min=1e-5)
