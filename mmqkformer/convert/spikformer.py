"""Spikformer's release: ImageNet, CIFAR (linear layers), events (1-D convolutions); CML's on it."""

from collections.abc import Mapping

from torch import Tensor

from .table import Family, channels, count, register_family

EMBED = 'backbone.stages.0.embed'
BLOCK = 'backbone.stages.0.blocks'
# Of Spikingformer as well
ATTENTION_RULES = [
    (r'block\.(\d+)\.attn\.attn_lif', BLOCK + '.{1}.attention.product_neuron'),
    (r'block\.(\d+)\.attn\.proj_lif', BLOCK + '.{1}.attention_neuron'),
    (
        r'block\.(\d+)\.attn\.(q|k|v|proj)_(conv|linear|bn|lif)',
        BLOCK + '.{1}.attention.{2}.{3}',
    ),
]
WORDS = {
    '': '0',
    'q': 'query',
    'k': 'key',
    'v': 'value',
    'linear': 'conv',
    'bn': 'norm',
    'lif': 'neuron',
}


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`."""
    stem = [channels(state_dict, f'{EMBED}.convs.{i}.conv.weight') for i in range(4)]
    hidden = channels(state_dict, f'{BLOCK}.0.mlp.fc1.conv.bias')
    # CIFAR's linear layers have a bias, the convolutions of the others have none
    biases = [name for name in state_dict if name.endswith('attention.query.conv.bias')]
    attention = dict(type='SpikingSelfAttention', num_heads=1, qkv_bias=bool(biases))
    stage = dict(
        embed=dict(type='SPS', channels=stem, pools=[True] * 4),
        block=dict(attention=attention, mlp=dict(type='SpikingMLP', ratio=hidden / stem[-1])),
        channels=stem[-1],
        depth=count(state_dict, r'backbone\.stages\.0\.blocks\.(\d+)\.'),
    )
    in_channels = channels(state_dict, f'{EMBED}.convs.0.conv.weight', axis=1)
    return dict(type='QKFormer', in_channels=in_channels, stages=[stage])


register_family(
    Family(
        name='spikformer',
        marks=[
            [
                'patch_embed.proj_conv3.weight',
                'patch_embed.rpe_conv.weight',
                'block.0.norm1.weight',
            ],
            [
                'patch_embed.block4_conv.weight',
                'patch_embed.rpe_conv.weight',
                'block.0.norm1.weight',
            ],
        ],
        rules=[
            (r'patch_embed\.proj_(conv|bn|lif)([123]?)', EMBED + '.convs.{2}.{1}'),
            # CML's, for CIFAR
            (r'patch_embed\.(block[1-4])_(conv|bn|lif)', EMBED + '.convs.{1}.{2}'),
            (r'patch_embed\.rpe_(conv|bn|lif)', EMBED + '.position.{1}'),
            *ATTENTION_RULES,
            (r'block\.(\d+)\.mlp\.fc2_lif', BLOCK + '.{1}.mlp_neuron'),
            (r'block\.(\d+)\.mlp\.(fc[12])_(conv|linear|bn|lif)', BLOCK + '.{1}.mlp.{2}.{3}'),
            ('head', 'head.fc'),
            (r'(block\.\d+\.norm[12]|norm)\.(weight|bias)|pos_embed', None),
        ],
        words={**WORDS, **{f'block{i + 1}': str(i) for i in range(4)}},
        backbone=backbone,
    )
)
