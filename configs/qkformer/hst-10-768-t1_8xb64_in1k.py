_base_ = 'hst-10-768_8xb64_in1k.py'

model = dict(backbone=dict(time_steps=1))
# A quarter of the activations of T = 4: all 64 images of a GPU's step fit 32 GB, see docs/v100.md
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(accumulative_counts=1)
