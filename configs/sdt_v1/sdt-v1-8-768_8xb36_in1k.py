# Every batch is mixed.
_base_ = 'sdt-v1-6-512_8xb48_in1k.py'

model = dict(backbone=dict(arch='sdt-v1-8-768'), head=dict(in_channels=768))
data_preprocessor = dict(batch_augments=dict(probs=[0.5, 0.5]))
train_dataloader = dict(batch_size=36, sampler=dict(multiple_of=36))
auto_scale_lr = dict(base_batch_size=288)
