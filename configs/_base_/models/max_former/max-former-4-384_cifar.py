# Max-Former for CIFAR: convolutions keep PyTorch's initialisation, the classifier starts from a
# truncated normal.
_base_ = 'max-former-10-384.py'

model = dict(backbone=dict(arch='max-former-4-384'), head=dict(num_classes=None, init_cfg=None))
