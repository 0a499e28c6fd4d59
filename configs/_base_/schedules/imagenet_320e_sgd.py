# SGD without weight decay, 256 images per optimizer step; the rate changes once per epoch, from the
# peak to 0, without a warm-up.
_base_ = 'imagenet_310e.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.1, momentum=0.9, weight_decay=0.0)
)
param_scheduler = dict(warmup_start=0.0, warmup_epochs=0, max_epochs=320, eta_min=0.0)
train_cfg = dict(max_epochs=320)
auto_scale_lr = dict(base_batch_size=256)
