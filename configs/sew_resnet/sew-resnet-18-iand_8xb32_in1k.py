# A block's spikes end those of its input. The recipe is that of ADD: with which this join was
# trained on ImageNet is not known.
_base_ = 'sew-resnet-18_8xb32_in1k.py'

model = dict(backbone=dict(arch='sew-resnet-18-iand'))
