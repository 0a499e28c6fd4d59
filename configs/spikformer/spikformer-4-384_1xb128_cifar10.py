# Spikformer's own recipe: 300 epochs and 10 more. Its switch of mixup at epoch 200 has no effect:
# timm 0.5.4, which it pins, has the loader that spikingformer-4-384_1xb64_cifar10 tells of.
_base_ = 'spikformer-4-384_1xb128_cifar100.py'

model = dict(head=dict(num_classes=10))
data_preprocessor = dict(num_classes=10)

dataset = dict(type='BGRCIFAR10', data_root='data/cifar10')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

param_scheduler = dict(max_epochs=300)
train_cfg = dict(max_epochs=310)
