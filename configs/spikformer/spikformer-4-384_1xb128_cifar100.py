_base_ = [
    '../_base_/models/spikformer/spikformer-4-384_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_400e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=100))

# Spikformer's own rate and batch, over the 400 epochs of the comparison
train_dataloader = dict(batch_size=128, sampler=dict(multiple_of=128))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=128)
