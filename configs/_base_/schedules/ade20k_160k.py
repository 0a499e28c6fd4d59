# AdamW, batch 20, 160,000 iterations, 1,500 of them linear warm-up, and polynomial decay of power
# 0.9: as the Quantized Spike-driven Transformer (ICLR 2025) was fine-tuned. It does not say more:
# betas, weight decay and the start of the warm-up are those of mmseg's configs with AdamW.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.01),
    # Below 1.0, earlier stages keep more of the pretrained weights
    constructor='StageOptimWrapperConstructor',
    paramwise_cfg=dict(norm_decay_mult=0.0, stage_lr_decay=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', power=0.9, begin=1500, end=160000, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160000, val_interval=16000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# 4 GPUs x 5 images
auto_scale_lr = dict(base_batch_size=20, enable=False)
