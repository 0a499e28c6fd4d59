# Fine-tunes the weights trained with one time step (load_from) with four. Not the release's recipe
# to the end: it also distils the labels of CAFormer-B36, which mmpretrain does not have.
_base_ = 'meta-spikeformer-31m-t1_8xb128_in1k.py'

model = dict(backbone=dict(time_steps=4))
train_dataloader = dict(batch_size=24, sampler=dict(multiple_of=24))
optim_wrapper = dict(optimizer=dict(lr=1.5e-5))
param_scheduler = dict(warmup_epochs=5, max_epochs=50)
train_cfg = dict(max_epochs=50)
auto_scale_lr = dict(base_batch_size=192)
