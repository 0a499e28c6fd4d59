_base_ = './retinanet_hst-10-384_fpn_1x_coco.py'

# Strides 4 to 64 are spiking; RetinaNet takes 8 to 64, and FPN adds 128
model = dict(
    backbone=dict(out='spikes'),
    neck=[
        dict(type='PEDSNeck', in_channels=[96, 192, 384], widths=[384, 384]),
        dict(
            type='FPN',
            in_channels=[96, 192, 384, 384, 384],
            out_channels=256,
            start_level=1,
            add_extra_convs='on_input',
            num_outs=5,
        ),
    ],
)
