# Spike-driven Transformer for CIFAR: two of the four units pool.
_base_ = 'sdt-v1-8-384.py'

model = dict(backbone=dict(arch='sdt-v1-2-512'), head=dict(in_channels=512))
