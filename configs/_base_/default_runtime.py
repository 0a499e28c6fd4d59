custom_imports = dict(imports=['mmqkformer'], allow_failed_imports=False)
default_scope = 'mmpretrain'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False),
    # Complete files of plain data, between optimizer steps
    checkpoint=dict(
        type='AtomicCheckpointHook', interval=1, max_keep_ckpts=2, save_best='accuracy/top1'
    ),
    # What is saved is what all processes validate
    sync_statistics=dict(type='SyncStatisticsHook'),
    plain_checkpoint=dict(type='PlainCheckpointHook'),
    # A resumed run ends with the weights of the unbroken one
    iteration_seed=dict(type='IterationSeedHook'),
    non_finite_loss=dict(type='NonFiniteLossHook'),
    preemption=dict(type='PreemptionHook'),
    # Logs: docs/logs.md
    grad_norm=dict(type='GradNormHook'),
    epoch_log=dict(type='EpochLogHook'),
    validation_loss=dict(type='ValidationLossHook'),
    # compile=True compiles the network and not mixup, which Inductor cannot
    eager_preprocessing=dict(type='EagerPreprocessingHook'),
)
# train/loss is a mean over the last 10 iterations; val/loss is none over 10 epochs
log_processor = dict(log_with_hierarchy=True, mean_pattern=r'^(?!val/).*(loss|time|grad_norm).*')
randomness = dict(seed=0, deterministic=False)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
visualizer = dict(
    type='UniversalVisualizer',
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
)
log_level = 'INFO'
load_from = None
resume = False
