# From weights of ImageNet: AdamW, 128 images per optimizer step on one GPU, a cosine without
# warm-up.
_base_ = 'imagenet_200e.py'

optim_wrapper = dict(accumulative_counts=1, optimizer=dict(lr=1e-4, weight_decay=0.01))
param_scheduler = dict(warmup_epochs=0, max_epochs=100)
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=128)
