"""SEW-ResNet's release: blocks of three convolutions, SEW-ResNet-50, -101 and -152."""

from .sew_resnet import FIRST, WORDS, backbone, rules
from .table import Family, register_family

register_family(
    Family(
        name='sew_resnet_bottleneck',
        marks=[[*marks, marks[1].replace('conv1', 'conv3')] for marks in FIRST],
        rules=rules(3),
        words=WORDS,
        backbone=backbone,
    )
)
