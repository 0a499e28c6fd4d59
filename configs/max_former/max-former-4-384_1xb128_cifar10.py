# Mixing never ends. The release sets its end for epoch 200, but its log's training loss does not
# fall there (1.112 in epoch 199, 1.139 in epoch 200, 1.008 at the end).
_base_ = [
    '../_base_/models/max_former/max-former-4-384_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar_400e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=10))
data_preprocessor = dict(
    batch_augments=dict(
        augments=[dict(type='Mixup', alpha=0.5), dict(type='CutMix', alpha=0.5)],
        probs=[0.5, 0.5],
    )
)
train_dataloader = dict(batch_size=128, sampler=dict(multiple_of=128))

optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
param_scheduler = dict(warmup_start=8e-5)
auto_scale_lr = dict(base_batch_size=128)
