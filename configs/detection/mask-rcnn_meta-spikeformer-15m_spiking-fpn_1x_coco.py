# Meta-SpikeFormer with LIF neurons in neck and heads. The release's recipe, which it resumed from
# somewhere: AdamW at 2.5e-5, batch 1, 5 epochs of a linear decay, 4000 iterations of warm-up.
_base_ = [
    '../_base_/models/spiking_dense/mask-rcnn_spiking-fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_1x.py',
    '../_base_/det_runtime.py',
]
custom_imports = dict(
    imports=['mmqkformer', 'mmqkformer.models.dense.detection'], allow_failed_imports=False
)

lif = dict(_delete_=True, type='LIFNeuron', tau=2.0)
model = dict(
    backbone=dict(
        arch='meta-spikeformer-15m',
        neuron=dict(type='LIFNeuron', tau=2.0),
        # Trained with configs/meta_spikeformer/ or converted from the release, see README.md
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/meta-spikeformer-15m-t1_in1k.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(neuron=lif),
    rpn_head=dict(neuron=lif),
    roi_head=dict(bbox_head=dict(neuron=lif), mask_head=dict(neuron=lif)),
)
train_dataloader = dict(batch_size=3)
default_hooks = dict(checkpoint=dict(save_best='coco/segm_mAP'))
