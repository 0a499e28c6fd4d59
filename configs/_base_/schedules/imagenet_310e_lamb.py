# LAMB, 384 images per optimizer step; otherwise as imagenet_310e.py.
_base_ = 'imagenet_310e.py'

optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='Lamb', lr=1.5e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01
    )
)
param_scheduler = dict(warmup_start=1e-5, eta_min=1.5e-5)
auto_scale_lr = dict(base_batch_size=384)
