# mmdet's runtime, with checkpoints that are complete files of plain data
_base_ = 'mmdet::_base_/default_runtime.py'
custom_imports = dict(imports=['mmqkformer'], allow_failed_imports=False)

default_hooks = dict(
    checkpoint=dict(
        _delete_=True,
        type='AtomicCheckpointHook',
        interval=1,
        max_keep_ckpts=2,
        save_best='coco/bbox_mAP',
    ),
    # What is saved is what all processes validate
    sync_statistics=dict(type='SyncStatisticsHook'),
    plain_checkpoint=dict(type='PlainCheckpointHook'),
    iteration_seed=dict(type='IterationSeedHook'),
    non_finite_loss=dict(type='NonFiniteLossHook'),
    preemption=dict(type='PreemptionHook'),
)
randomness = dict(seed=0)
