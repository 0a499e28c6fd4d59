# One time step, at another rate. All 64 images of a GPU's step fit.
_base_ = 'max-former-10-768_8xb64_in1k.py'

model = dict(backbone=dict(time_steps=1))
train_dataloader = dict(batch_size=64)

optim_wrapper = dict(accumulative_counts=1, optimizer=dict(lr=2.4e-3))
