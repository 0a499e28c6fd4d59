"""Spikingformer's release, and CML's on it: where they pool does not show in their weights."""

from collections.abc import Mapping

from torch import Tensor

from .spikformer import ATTENTION_RULES, BLOCK, EMBED, WORDS
from .table import Family, channels, count, register_family


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`."""
    embed_dims = channels(state_dict, f'{EMBED}.convs.4.conv.weight')
    arch = dict(
        base='spikingformer',
        depth=count(state_dict, r'backbone\.stages\.0\.blocks\.(\d+)\.'),
        embed_dims=embed_dims,
        num_heads=1,
        mlp_ratio=channels(state_dict, f'{BLOCK}.0.mlp.fc1.conv.bias') / embed_dims,
    )
    in_channels = channels(state_dict, f'{EMBED}.convs.0.conv.weight', axis=1)
    return dict(type='SpikingBackbone', in_channels=in_channels, arch=arch, out='stream')


register_family(
    Family(
        name='spikingformer',
        marks=[
            ['patch_embed.proj4_conv.weight', 'block.0.mlp.mlp1_conv.weight'],
            ['patch_embed.block0_conv.weight', 'block.0.mlp.mlp1_conv.weight'],
        ],
        rules=[
            (r'patch_embed\.proj([1-4]?)_(conv|bn|lif)', EMBED + '.convs.{1}.{2}'),
            (r'patch_embed\.block([0-4])_(conv|bn|lif)', EMBED + '.convs.{1}.{2}'),
            *ATTENTION_RULES,
            # The neurons stand in front of their convolutions
            (r'block\.(\d+)\.mlp\.mlp1_lif', BLOCK + '.{1}.mlp_neuron'),
            (r'block\.(\d+)\.mlp\.mlp2_lif', BLOCK + '.{1}.mlp.fc1.neuron'),
            (r'block\.(\d+)\.mlp\.mlp([12])_(conv|bn)', BLOCK + '.{1}.mlp.fc{2}.{3}'),
            ('head', 'head.fc'),
            (r'block\.\d+\.norm[12]\.(weight|bias)', None),
        ],
        words=WORDS,
        backbone=backbone,
    )
)
