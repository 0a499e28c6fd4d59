_base_ = 'spikingresformer-s-t10_1xb48_cifar10dvs.py'

model = dict(head=dict(num_classes=11))
data_preprocessor = dict(num_classes=11)

dataset = dict(type='DVS128Gesture', data_root='data/dvs128gesture')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=0.05))
