# The release has no code of its Spikformers for ImageNet, only a log of 768 channels, with 192
# images an optimizer step. CML's rule is applied to Spikformer, whose recipe it is.
_base_ = '../spikformer/spikformer-8-384_8xb24_in1k.py'

model = dict(backbone=dict(arch='cml-spikformer-8-384'))
