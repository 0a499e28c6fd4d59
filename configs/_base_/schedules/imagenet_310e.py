# 192 images per optimizer step; the rate changes once per epoch. After the cosine of 300 epochs
# come 10 more at the minimum. No average of the weights.
_base_ = 'cifar_400e.py'

optim_wrapper = dict(optimizer=dict(lr=5e-4, weight_decay=0.05))
param_scheduler = dict(warmup_start=1e-6, max_epochs=300)
train_cfg = dict(max_epochs=310)
auto_scale_lr = dict(base_batch_size=192)
