# The recipe of the paper; the release's is AdamW at 1e-3, 2e-3 in the head, decay 0.005, batch 16,
# a linear decay and mixed precision. It takes the levels for strides 4, 8, 16 and 32: the head sees
# their ratios only, and computes the same.
_base_ = [
    '../_base_/models/spiking_dense/fpn_spiking.py',
    'mmseg::_base_/datasets/ade20k.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/seg_runtime.py',
]
custom_imports = dict(
    imports=['mmqkformer', 'mmqkformer.models.dense.segmentation'], allow_failed_imports=False
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
train_dataloader = dict(batch_size=5)
# Steps of the quantisation and layer scales do not decay
optim_wrapper = dict(paramwise_cfg=dict(flat_decay_mult=0.0))
