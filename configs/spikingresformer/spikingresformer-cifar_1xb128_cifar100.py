_base_ = 'spikingresformer-cifar_1xb128_cifar10.py'

model = dict(head=dict(num_classes=100))
data_preprocessor = dict(num_classes=100, mean=[129.3, 124.1, 112.4], std=[68.2, 65.4, 70.4])

train_pipeline = _base_.train_pipeline
train_pipeline[2].hparams.pad_val = [112, 124, 129]
dataset = dict(type='BGRCIFAR100', data_root='data/cifar100')
train_dataloader = dict(dataset=dict(dataset, pipeline=train_pipeline))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
