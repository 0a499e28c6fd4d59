# Mask R-CNN of mmdet whose neck and heads fire: QSD-Transformer's, for a backbone of five stages
# with strides 2, 4, 8, 16 and 16. Convolutions have biases, neck and heads no norms.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

neuron = dict(type='ILIFNeuron', levels=4, decay=0.0)
model = dict(
    backbone=dict(
        _delete_=True,
        type='SpikingBackbone',
        time_steps=1,
        out_indices=(1, 2, 3, 4),
        out='stream',
        # Few images are few for a norm: it keeps the statistics of the classification
        norm_eval=True,
    ),
    neck=dict(
        _delete_=True,
        type='SpikingFPN',
        in_channels=[64, 128, 256, 360],
        out_channels=256,
        num_outs=5,
        neuron=neuron,
    ),
    # Anchors of 32 to 512 pixels, as with strides of 4 to 64
    rpn_head=dict(
        type='SpikingRPNHead',
        neuron=neuron,
        anchor_generator=dict(strides=[4, 8, 16, 16, 32], base_sizes=[4, 8, 16, 32, 64]),
    ),
    roi_head=dict(
        type='SpikingRoIHead',
        bbox_roi_extractor=dict(type='SpikingRoIExtractor', featmap_strides=[4, 8, 16, 16]),
        bbox_head=dict(type='SpikingBBoxHead', neuron=neuron),
        mask_roi_extractor=dict(type='SpikingRoIExtractor', featmap_strides=[4, 8, 16, 16]),
        mask_head=dict(type='SpikingMaskHead', neuron=neuron),
    ),
)
