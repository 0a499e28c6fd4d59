# Fine-tunes the weights trained at 224 x 224 (--cfg-options load_from=...) at 384 x 384: the last
# ten epochs, 200 to 209, of a schedule of 210.
_base_ = 'hst-10-768_8xb64_in1k.py'

train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = 384
test_pipeline = [
    dict(type='LoadVerifiedImage'),
    dict(type='ResizeEdge', scale=384, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=384),
    dict(type='PackInputs'),
]
# 8 images x 8 micro-batches are what fits 32 GB, see docs/v100.md: still 64 per GPU and step
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=32, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(batch_size=32, dataset=dict(pipeline=test_pipeline))

optim_wrapper = dict(accumulative_counts=8)
param_scheduler = dict(max_epochs=210, epoch_offset=200, eta_min=5e-7)
train_cfg = dict(max_epochs=10)
