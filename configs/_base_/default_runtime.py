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
    plain_checkpoint=dict(type='PlainCheckpointHook'),
    # A resumed run ends with the weights of the unbroken one
    iteration_seed=dict(type='IterationSeedHook'),
    non_finite_loss=dict(type='NonFiniteLossHook'),
    check_labels=dict(type='CheckLabelsHook'),
    # Goes on with runs that had a group of each parameter
    merged_groups=dict(type='MergedGroupsHook'),
)
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
