# 64 images per optimizer step on one GPU, in float32. After the cosine of 300 epochs come 10 more
# at the minimum. Mixup ends at epoch 200 (counted from 0, as the schedule is; the hook from 1).
_base_ = 'cifar_400e.py'

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(_base_.optim_wrapper.optimizer, lr=3e-4),
    constructor=_base_.optim_wrapper.constructor,
    paramwise_cfg=_base_.optim_wrapper.paramwise_cfg,
)
param_scheduler = dict(warmup_start=1e-6, max_epochs=300)
train_cfg = dict(max_epochs=310)
custom_hooks = [
    dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=201, batch_augments=None)])
]
