optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=6e-3, weight_decay=0.06),
    constructor='MergedOptimWrapperConstructor',
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
param_scheduler = dict(
    type='WarmupCosineLR',
    warmup_epochs=2,
    max_epochs=25,
    eta_min=1e-5,
    convert_to_iter_based=True,
)
# Some 475 steps are too few for the decay of 0.9999 of the large recipes
custom_hooks = [dict(type='OptimStepEMAHook', momentum=0.02, num_samples=512)]
train_cfg = dict(type='ResumableTrainLoop', max_epochs=25, val_interval=1)
val_cfg = dict()
test_cfg = dict()

auto_scale_lr = dict(base_batch_size=64, enable=False)
