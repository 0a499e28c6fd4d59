# AdamW, batch 12 and polynomial decay of power 0.9: as the Quantized Spike-driven Transformer (ICLR
# 2025) was fine-tuned. It does not say more: 12 epochs (1x) and 500 iterations of warm-up are
# mmdet's defaults, betas and weight decay those of mmdet's configs with AdamW.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    # Below 1.0, earlier stages keep more of the pretrained weights
    constructor='StageOptimWrapperConstructor',
    paramwise_cfg=dict(norm_decay_mult=0.0, stage_lr_decay=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='PolyLR', power=0.9, begin=0, end=12, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='ResumableTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# 4 GPUs x 3 images
auto_scale_lr = dict(base_batch_size=12, enable=False)
