# Spikformer's CIFAR model: q, k, v, projection and MLP are linear layers with biases, initialised
# by a truncated normal; convolutions keep PyTorch's initialisation.
linear_init = dict(type='TruncNormal', layer='Conv2d', std=0.02, bias=0.0)

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='QKFormer',
        time_steps=4,
        neuron=dict(type='LIFNeuron', tau=2.0),
        stages=[
            dict(
                embed=dict(
                    type='SPS',
                    channels=[48, 96, 192, 384],
                    pools=[False, False, True, True],
                ),
                block=dict(
                    attention=dict(
                        type='SpikingSelfAttention',
                        num_heads=12,
                        qkv_bias=True,
                        init_cfg=linear_init,
                    ),
                    mlp=dict(type='SpikingMLP', ratio=4, init_cfg=linear_init),
                ),
                channels=384,
                depth=4,
            ),
        ],
    ),
    head=dict(
        type='SpikingClsHead',
        in_channels=384,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
