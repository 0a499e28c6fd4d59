"""STSA's release, the model for DVS128 Gesture."""

from collections.abc import Mapping

from torch import Tensor

from .spikformer import BLOCK, EMBED, WORDS
from .table import Family, channels, count, register_family


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`. Of which window a table of differences is does not show."""
    width = channels(state_dict, f'{EMBED}.position.conv.weight')
    arch = dict(
        base='stsa-2-256',
        depth=count(state_dict, r'backbone\.stages\.0\.blocks\.(\d+)\.'),
        embed_dims=width,
        mlp_ratio=channels(state_dict, f'{BLOCK}.0.mlp.fc1.conv.bias') / width,
    )
    return dict(type='SpikingBackbone', in_channels=2, arch=arch)


register_family(
    Family(
        name='stsa',
        marks=[['conv_stem.block5_conv.weight', 'block.0.attn.relative_position_bias_table']],
        rules=[
            (r'conv_stem\.block5_(conv|bn|lif)', EMBED + '.position.{1}'),
            (r'conv_stem\.(block[1-4])_(conv|bn|lif)', EMBED + '.convs.{1}.{2}'),
            (r'block\.(\d+)\.attn\.attn_lif', BLOCK + '.{1}.attention.product_neuron'),
            (r'block\.(\d+)\.attn\.proj_lif', BLOCK + '.{1}.attention_neuron'),
            (r'block\.(\d+)\.attn\.(qkv|proj)_(conv|bn|lif)', BLOCK + '.{1}.attention.{2}.{3}'),
            (
                r'block\.(\d+)\.attn\.relative_position_bias_table',
                BLOCK + '.{1}.attention.position_bias',
            ),
            (r'block\.(\d+)\.mlp\.fc2_lif', BLOCK + '.{1}.mlp_neuron'),
            (r'block\.(\d+)\.mlp\.(fc[12])_(conv|bn|lif)', BLOCK + '.{1}.mlp.{2}.{3}'),
            ('classification', 'head.fc'),
            # Computed from the window; a second projection that nothing uses
            (r'block\.\d+\.attn\.(mask_mat|relative_position_index)', None),
            (r'block\.\d+\.attn\.to_qkv_(proj|bn)\.\w+', None),
        ],
        words={**WORDS, **{f'block{i + 1}': str(i) for i in range(4)}},
        backbone=backbone,
    )
)
