# The demonstration: a small HST that learns handwritten digits on two CPU cores in minutes.
_base_ = [
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits_25e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='QKFormer',
        arch=dict(
            embed_dims=[32, 64, 128],
            depths=[1, 1, 1],
            num_heads=[4, 4, 4],
            mlp_ratios=[2, 2, 2],
            attentions=['QKTokenAttention', 'QKTokenAttention', 'SpikingSelfAttention'],
            stem=dict(channels=[16, 32], pools=[False, False], shortcut_from=1),
            pool='first',
        ),
        time_steps=4,
        neuron=dict(type='LIFNeuron', tau=2.0),
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=10,
        in_channels=128,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
default_hooks = dict(logger=dict(interval=19), checkpoint=dict(save_best='accuracy_ema/top1'))
