# The recipe of the paper; strides of levels and anchors are the network's. The release's, which are
# of another, are in mask-rcnn_qsd-s_spiking-fpn_15e_coco_release.py.
_base_ = [
    '../_base_/models/spiking_dense/mask-rcnn_spiking-fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_1x.py',
    '../_base_/det_runtime.py',
]
custom_imports = dict(
    imports=['mmqkformer', 'mmqkformer.models.dense.detection'], allow_failed_imports=False
)

model = dict(
    backbone=dict(
        arch='qsd-s',
        neuron=dict(type='MultiSpikeNeuron', levels=4),
        quant=dict(type='LSQ', bits=4),
        # Trained with configs/qsd/ or converted from the release, see README.md
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/qsd-s_in1k.pth', prefix='backbone.'
        ),
    )
)
train_dataloader = dict(batch_size=3)
# Steps of the quantisation and layer scales do not decay
optim_wrapper = dict(paramwise_cfg=dict(flat_decay_mult=0.0))
default_hooks = dict(checkpoint=dict(save_best='coco/segm_mAP'))
