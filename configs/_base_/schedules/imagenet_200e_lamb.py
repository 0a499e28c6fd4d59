# LAMB with clipped trust ratios, `8xb128`: 1024 images per optimizer step; otherwise as
# imagenet_200e.py.
_base_ = 'imagenet_200e.py'

optim_wrapper = dict(
    accumulative_counts=1,
    optimizer=dict(
        _delete_=True,
        type='Lamb',
        lr=2.4e-3,
        betas=(0.9, 0.999),
        eps=1e-6,
        weight_decay=0.05,
        trust_clip=True,
    ),
)
param_scheduler = dict(warmup_epochs=10)
auto_scale_lr = dict(base_batch_size=1024)
