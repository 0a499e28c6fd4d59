# `8xb64`: 8 GPUs x 64 images per OPTIMIZER step = 512. A loader's batch is smaller: 32 images x 2
# accumulated micro-batches. Iterations in logs are micro-batches, and BatchNorm's statistics are
# those of one GPU's micro-batch. On other numbers of GPUs: tools/train.py --auto-scale-lr.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    dtype='float16',
    accumulative_counts=2,
    optimizer=dict(type='AdamW', lr=1.2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
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
    warmup_epochs=5,
    max_epochs=200,
    eta_min=1e-6,
    convert_to_iter_based=True,
)
train_cfg = dict(type='ResumableTrainLoop', max_epochs=200, val_interval=1)
val_cfg = dict()
test_cfg = dict()

auto_scale_lr = dict(base_batch_size=512, enable=False)
