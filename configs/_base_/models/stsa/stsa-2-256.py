# STSA for events: input that does not decay, a strict threshold, a triangular surrogate and a
# gradient through the reset. TET, the loss of every time step.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='SpikingBackbone',
        arch='stsa-2-256',
        time_steps=10,
        in_channels=2,
        neuron=dict(
            type='LIFNeuron',
            tau=2.0,
            decay_input=False,
            strict=True,
            detach_reset=False,
            surrogate=dict(type='TriangularSurrogate'),
        ),
        out='stream',
    ),
    head=dict(
        type='SpikingClsHead',
        num_classes=11,
        in_channels=256,
        loss_on='steps',
        mse_weight=1e-3,
        mse_target=1.0,
    ),
)
