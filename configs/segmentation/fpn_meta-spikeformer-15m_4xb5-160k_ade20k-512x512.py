# Meta-SpikeFormer with LIF neurons in neck and head. The release's recipe: AdamW at 1e-3, 2e-3 in
# the head, decay 0.005, batch 8, a linear decay; four time steps.
_base_ = [
    '../_base_/models/spiking_dense/fpn_spiking.py',
    'mmseg::_base_/datasets/ade20k.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/seg_runtime.py',
]
custom_imports = dict(
    imports=['mmqkformer', 'mmqkformer.models.dense.segmentation'], allow_failed_imports=False
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
    decode_head=dict(neuron=lif),
)
train_dataloader = dict(batch_size=5)
