# mmseg's runtime, with checkpoints that are complete files of plain data
_base_ = 'mmseg::_base_/default_runtime.py'
custom_imports = dict(imports=['mmqkformer'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
    checkpoint=dict(
        type='AtomicCheckpointHook',
        by_epoch=False,
        interval=16000,
        max_keep_ckpts=2,
        save_best='mIoU',
    ),
    # What is saved is what all processes validate
    sync_statistics=dict(type='SyncStatisticsHook'),
    plain_checkpoint=dict(type='PlainCheckpointHook'),
    iteration_seed=dict(type='IterationSeedHook'),
    non_finite_loss=dict(type='NonFiniteLossHook'),
    preemption=dict(type='PreemptionHook'),
)
randomness = dict(seed=0)
