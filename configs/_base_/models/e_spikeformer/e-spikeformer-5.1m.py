# E-SpikeFormer's base models: no time axis, neurons that emit 0 to 4 spikes at once, as quarters.
# The head fires whole numbers of them on the mean of the membrane over the tokens.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='e-spikeformer-5.1m',
        time_steps=1,
        neuron=dict(type='ILIFNeuron', levels=4, decay=None, normalize=True),
        out='stream',
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=1000,
        in_channels=192,
        neuron=dict(type='ILIFNeuron', levels=4, decay=None),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
