# The demonstration on events: a small HST that learns films of handwritten digits on two CPU cores
# in minutes.
_base_ = [
    '../_base_/datasets/digits_events.py',
    '../_base_/schedules/digits_25e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='QKFormer',
        arch=dict(
            embed_dims=[32, 64],
            depths=[1, 1],
            num_heads=[4, 4],
            mlp_ratios=[2, 2],
            attentions=['QKTokenAttention', 'SpikingSelfAttention'],
            stem=dict(channels=[8, 16, 32], pools=[True, True, False], shortcut_from=1),
            pool='first',
        ),
        time_steps=8,
        in_channels=2,
        neuron=dict(type='LIFNeuron', tau=2.0),
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=10,
        in_channels=64,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)

param_scheduler = dict(warmup_epochs=1, max_epochs=20)
train_cfg = dict(max_epochs=20)
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(checkpoint=dict(save_best='accuracy_ema/top1'))
