# Spikformer's CIFAR model: q, k, v, projection and MLP are linear layers with biases, initialised
# by a truncated normal; convolutions keep PyTorch's initialisation.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='spikformer-4-384',
        time_steps=4,
        neuron=dict(type='LIFNeuron', tau=2.0),
    ),
    head=dict(
        type='SpikingClsHead',
        in_channels=384,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
