_base_ = './upernet_hst-10-384_4xb5-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        arch='hst-10-512',
        init_cfg=dict(checkpoint='checkpoints/hst-10-512_in1k.pth'),
    ),
    decode_head=dict(in_channels=[128, 256, 512]),
    auxiliary_head=dict(in_channels=512),
)
