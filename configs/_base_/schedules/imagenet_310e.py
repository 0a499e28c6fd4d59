# 192 images per optimizer step; the rate changes once per epoch. After the cosine of 300 epochs
# come 10 more at the minimum. No average of the weights.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    dtype='float16',
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    constructor='MergedOptimWrapperConstructor',
    # No decay of parameters with one axis or none (PLIF's time constants)
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={'neuron.w': dict(decay_mult=0.0)},
    ),
)
param_scheduler = dict(
    type='WarmupCosineLR',
    warmup_start=1e-6,
    warmup_epochs=20,
    max_epochs=300,
    eta_min=1e-5,
    cosine_from='start',
)
train_cfg = dict(type='ResumableTrainLoop', max_epochs=310, val_interval=1)
val_cfg = dict()
test_cfg = dict()

auto_scale_lr = dict(base_batch_size=192, enable=False)
