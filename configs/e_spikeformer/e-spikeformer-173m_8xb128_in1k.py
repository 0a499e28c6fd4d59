_base_ = 'e-spikeformer-83m_8xb128_in1k.py'

model = dict(backbone=dict(arch='e-spikeformer-173m'), head=dict(in_channels=768))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(accumulative_counts=2)
