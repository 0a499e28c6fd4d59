# QSD-Transformer: Meta-SpikeFormer of 0 to 4 spikes a step, with weights of four bits. Neurons have
# no memory, so that one time step is all. The head fires on the mean of the membrane over the
# tokens.
quant = dict(type='LSQ', bits=4)
neuron = dict(type='MultiSpikeNeuron', levels=4)
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='qsd-s',
        time_steps=1,
        neuron=neuron,
        out='stream',
        quant=quant,
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=1000,
        in_channels=360,
        neuron=neuron,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        quant=quant,
    ),
)
