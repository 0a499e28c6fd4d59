# MS-QKFormer for ImageNet; its start is taken to be QKFormer's.
_base_ = 'max-former-10-384.py'

model = dict(backbone=dict(arch='ms-qkformer-10-384'), head=dict(init_cfg=None))
