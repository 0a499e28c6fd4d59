# As CIFAR-10, whose mean and std the release uses for both sets.
_base_ = 'cifar10.py'

data_preprocessor = dict(num_classes=100)

dataset = dict(type='BGRCIFAR100', data_root='data/cifar100')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
