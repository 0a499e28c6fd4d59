# 16 recordings per optimizer step on one GPU; the rate changes once per epoch. Mixup ends at epoch
# 75 (counted from 0, as the schedule is; the hook counts from 1). After the cosine of 96 epochs
# come 10 more at the minimum.
_base_ = 'cifar_400e.py'

optim_wrapper = dict(optimizer=dict(lr=5e-3))
param_scheduler = dict(warmup_epochs=10, max_epochs=96)
train_cfg = dict(max_epochs=106)
custom_hooks = [
    dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=76, batch_augments=None)])
]
auto_scale_lr = dict(base_batch_size=16)
