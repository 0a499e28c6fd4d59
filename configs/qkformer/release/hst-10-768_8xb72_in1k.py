# As release/hst-10-384_8xb64_in1k.py, with the largest model and its batch: 8 GPUs x 24 images x 3
# micro-batches = 576 per optimizer step, at a learning rate of 6e-4 x 576 / 256.
_base_ = 'hst-10-384_8xb64_in1k.py'

model = dict(backbone=dict(arch=dict(base='hst-10-768')), head=dict(in_channels=768))
train_dataloader = dict(batch_size=24, sampler=dict(multiple_of=72))
val_dataloader = dict(batch_size=24)
test_dataloader = dict(batch_size=24)
optim_wrapper = dict(accumulative_counts=3, optimizer=dict(lr=1.35e-3))
auto_scale_lr = dict(base_batch_size=576)
