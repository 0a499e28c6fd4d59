# Fine-tunes the weights trained at 224 x 224 (--cfg-options load_from=...) at 384 x 384: epochs 200
# to 209 of a schedule of 210, with 512 images per optimizer step. How the release divides them is
# not known; 8 GPUs x 8 images x 8 micro-batches are chosen to fit 32 GB, and 8 images for testing.
_base_ = 'hst-10-768_8xb72_in1k.py'

train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = 384
test_pipeline = [
    dict(type='LoadVerifiedImage'),
    dict(type='ResizeEdge', scale=384, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=384),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=8, dataset=dict(pipeline=train_pipeline), sampler=dict(multiple_of=64)
)
val_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(accumulative_counts=8, optimizer=dict(lr=1.2e-3))
param_scheduler = dict(max_epochs=210, epoch_offset=200, eta_min=5e-7)
train_cfg = dict(max_epochs=10)
auto_scale_lr = dict(base_batch_size=512)
