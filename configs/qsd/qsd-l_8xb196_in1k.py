# Two micro-batches, as 196 images take more than a GPU of 32 GB has: a norm sees 98 images.
_base_ = 'qsd-s_8xb196_in1k.py'

model = dict(backbone=dict(arch='qsd-l'), head=dict(in_channels=640))
train_dataloader = dict(batch_size=98)
optim_wrapper = dict(accumulative_counts=2)
