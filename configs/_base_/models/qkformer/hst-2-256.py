# head.num_classes is the data set's, in the config of the model
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='QKFormer',
        arch=dict(base='hst-2-256'),
        time_steps=16,
        in_channels=2,
        neuron=dict(type='LIFNeuron', tau=2.0),
    ),
    head=dict(
        type='SpikingClsHead',
        in_channels=256,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
