# Fine-tunes the weights trained with one time step (load_from) with four. The release's recipe is
# that of the `t4-distilled` configs, which add a classifier and its teacher.
_base_ = 'meta-spikeformer-15m-t1_8xb128_in1k.py'

model = dict(backbone=dict(time_steps=4))
train_dataloader = dict(batch_size=24, sampler=dict(multiple_of=24))
optim_wrapper = dict(optimizer=dict(lr=1.5e-5))
param_scheduler = dict(warmup_epochs=5, max_epochs=50)
train_cfg = dict(max_epochs=50)
auto_scale_lr = dict(base_batch_size=192)
