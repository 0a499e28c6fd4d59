# A block's spikes let those of its input pass, and do so for all at the start of training: norms
# that end a block begin at (0, 1), the release's option for this join. The recipe is that of ADD:
# with which this join was trained on ImageNet is not known.
_base_ = 'sew-resnet-18_8xb32_in1k.py'

model = dict(
    backbone=dict(
        arch='sew-resnet-18-and',
        init_cfg=[
            dict(type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu'),
            dict(type='LastNorm', weight=0.0, bias=1.0),
        ],
    )
)
