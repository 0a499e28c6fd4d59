# Spikingformer's CIFAR model: two of the tokenizer's units pool, and all layers are convolutions.
_base_ = 'spikingformer-8-384.py'

model = dict(backbone=dict(arch='spikingformer-4-384'), head=dict(num_classes=None))
