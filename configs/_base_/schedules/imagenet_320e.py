# AdamW, 256 images per optimizer step; the rate changes once per epoch. The release's loop ends
# with the cosine: none of its 10 epochs at the minimum is trained.
_base_ = 'imagenet_310e.py'

optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.01))
param_scheduler = dict(warmup_start=1e-5, warmup_epochs=3, max_epochs=320)
train_cfg = dict(max_epochs=320)
auto_scale_lr = dict(base_batch_size=256)
