# Spikformer's own recipe: 128 images an optimizer step, 300 epochs and 10 more. Its switch of mixup
# at epoch 200 has no effect either: timm 0.5.4, which it pins, has the same loader as 0.6.12.
_base_ = 'cml-spikformer-4-384_1xb64_cifar10.py'

train_dataloader = dict(batch_size=128, sampler=dict(multiple_of=128))
param_scheduler = dict(max_epochs=300)
train_cfg = dict(max_epochs=310)
auto_scale_lr = dict(base_batch_size=128)
