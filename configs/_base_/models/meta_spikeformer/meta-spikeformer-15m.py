# Meta-SpikeFormer, trained with one time step first. The head fires on the mean of the membrane
# over the tokens.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='meta-spikeformer-15m',
        time_steps=1,
        neuron=dict(type='LIFNeuron', tau=2.0),
        out='stream',
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=1000,
        in_channels=360,
        neuron=dict(type='LIFNeuron', tau=2.0),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
