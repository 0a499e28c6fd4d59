# LAMB. Warm-up, least rate, augmentation and mixed precision are those of QKFormer for this set:
# the release's are not known.
_base_ = [
    '../_base_/models/sdt_v1/sdt-v1-8-384.py',
    '../_base_/datasets/dvs128.py',
    '../_base_/schedules/dvs128_192e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(arch='sdt-v1-2-256-gesture', time_steps=16, in_channels=2),
    head=dict(num_classes=11, in_channels=256),
)

optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='Lamb', lr=3e-4, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.06
    )
)
param_scheduler = dict(max_epochs=200)
train_cfg = dict(max_epochs=210)
