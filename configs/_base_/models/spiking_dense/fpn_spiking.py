# Semantic FPN of mmseg whose neck and head fire: QSD-Transformer's, for a backbone of five stages
# with strides 2, 4, 8, 16 and 16, of which it takes the first three and the last.
_base_ = 'mmseg::_base_/models/fpn_r50.py'

norm_cfg = dict(type='SyncBN')
neuron = dict(type='ILIFNeuron', levels=4, decay=0.0, normalize=True)
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='SpikingBackbone',
        time_steps=1,
        norm_cfg=norm_cfg,
        out_indices=(0, 1, 2, 4),
        out='stream',
    ),
    neck=dict(
        _delete_=True,
        type='SpikingFPN',
        in_channels=[32, 64, 128, 360],
        out_channels=128,
        neuron=neuron,
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type='SpikingFPNHead',
        in_channels=[128, 128, 128, 128],
        feature_strides=[2, 4, 8, 16],
        num_classes=150,
        neuron=neuron,
    ),
)
