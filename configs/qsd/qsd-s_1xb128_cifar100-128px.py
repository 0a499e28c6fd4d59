_base_ = 'qsd-s_1xb128_cifar10-128px.py'

model = dict(head=dict(num_classes=100))
data_preprocessor = dict(num_classes=100)

dataset = dict(type='BGRCIFAR100', data_root='data/cifar100')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
