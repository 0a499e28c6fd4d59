# DVS128 Gesture, otherwise as CIFAR10-DVS.
_base_ = 'cifar10dvs.py'

data_preprocessor = dict(num_classes=11)

dataset = dict(type='DVS128Gesture', data_root='data/dvs128gesture')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
