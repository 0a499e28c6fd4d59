_base_ = 'e-spikeformer-5.1m_8xb256_in1k.py'

model = dict(backbone=dict(arch='e-spikeformer-10m'), head=dict(in_channels=240))
