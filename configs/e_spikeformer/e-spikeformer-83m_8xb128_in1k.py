# A large model from random weights, by the recipe that fine-tunes the release's: 1024 images per
# optimizer step, layer scales, drop path, mixed batches. Not the release's to the end: its weights
# come from masked pre-training and are distilled afterwards with a second classifier, and rates
# would decay by layer, by a helper that fails on these models. The release's drop path grows over
# the blocks of attention, here over all.
_base_ = 'e-spikeformer-5.1m_8xb256_in1k.py'

# Halves are rounded up; the classifier sees the mean of the membrane itself
model = dict(
    backbone=dict(arch='e-spikeformer-83m', neuron=dict(half_up=True), drop_path_rate=0.1),
    head=dict(
        in_channels=512,
        neuron=None,
        init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform'),
    ),
)
# Images are erased before they are mixed: of this type only because it leaves the probabilities be
data_preprocessor = dict(
    type='ErasingDataPreprocessor',
    batch_augments=dict(
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)], probs=[0.5, 0.5]
    ),
)
train_dataloader = dict(batch_size=128, sampler=dict(multiple_of=128))
optim_wrapper = dict(optimizer=dict(lr=2.4e-3))
param_scheduler = dict(warmup_epochs=10, max_epochs=150)
train_cfg = dict(max_epochs=150)
auto_scale_lr = dict(base_batch_size=1024)
