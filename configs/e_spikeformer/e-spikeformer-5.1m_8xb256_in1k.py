# 2048 images per optimizer step. Repeated augmentation, an option of the release's script, is off.
_base_ = [
    '../_base_/models/e_spikeformer/e-spikeformer-5.1m.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_200e_lamb.py',
    '../_base_/default_runtime.py',
]

# A crop of 224 / 232
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 232

train_dataloader = dict(batch_size=256, sampler=dict(multiple_of=256))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=4.8e-3))
param_scheduler = dict(warmup_epochs=5)
auto_scale_lr = dict(base_batch_size=2048)
