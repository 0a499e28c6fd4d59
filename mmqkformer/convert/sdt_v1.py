"""Spike-driven Transformer's release, one form for images and events."""

from collections.abc import Mapping

from torch import Tensor

from .table import Family, channels, count, register_family

_EMBED = 'backbone.stages.0.embed'
_BLOCK = 'backbone.stages.0.blocks'


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`. Pools and the widening of spikes have no weights."""
    width = channels(state_dict, f'{_EMBED}.position.conv.weight')
    arch = dict(
        base='sdt_v1',
        depth=count(state_dict, r'backbone\.stages\.0\.blocks\.(\d+)\.'),
        embed_dims=width,
        pools=[True] * 4,
        mlp_ratio=channels(state_dict, f'{_BLOCK}.0.mlp.fc1.conv.bias') / width,
    )
    in_channels = channels(state_dict, f'{_EMBED}.convs.0.conv.weight', axis=1)
    return dict(type='SpikingBackbone', in_channels=in_channels, arch=arch, out='stream')


register_family(
    Family(
        name='sdt_v1',
        marks=[['patch_embed.rpe_conv.weight', 'block.0.attn.talking_heads.weight']],
        rules=[
            # The neuron behind the patch splitting stands in front of the position convolution
            (r'patch_embed\.proj_(lif)3', _EMBED + '.position.{1}'),
            (r'patch_embed\.proj_(conv|bn|lif)([123]?)', _EMBED + '.convs.{2}.{1}'),
            (r'patch_embed\.rpe_(conv|bn)', _EMBED + '.position.{1}'),
            (r'block\.(\d+)\.attn\.shortcut_lif', _BLOCK + '.{1}.attention_neuron'),
            (r'block\.(\d+)\.attn\.talking_heads_lif', _BLOCK + '.{1}.attention.mask_neuron'),
            (
                r'block\.(\d+)\.attn\.(q|k|v|proj)_(conv|bn|lif)',
                _BLOCK + '.{1}.attention.{2}.{3}',
            ),
            # Neurons come first: fc2's is that behind fc1
            (r'block\.(\d+)\.mlp\.fc1_lif', _BLOCK + '.{1}.mlp_neuron'),
            (r'block\.(\d+)\.mlp\.fc2_(lif)', _BLOCK + '.{1}.mlp.fc1.{2}'),
            (r'block\.(\d+)\.mlp\.(fc[12])_(conv|bn)', _BLOCK + '.{1}.mlp.{2}.{3}'),
            ('head_lif', 'head.neuron'),
            ('head', 'head.fc'),
            (r'block\.\d+\.attn\.talking_heads\.weight', None),
        ],
        words={
            '': '0',
            'q': 'query',
            'k': 'key',
            'v': 'value',
            'bn': 'norm',
            'lif': 'neuron',
        },
        backbone=backbone,
    )
)
