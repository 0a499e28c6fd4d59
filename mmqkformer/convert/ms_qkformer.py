"""MS-QKFormer of Max-Former's release for ImageNet; of any T."""

from collections.abc import Mapping

from torch import Tensor

from .max_former import BLOCK, HEAD, MLP, WORDS, attention_rules
from .table import Family, channels, count, register_family


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`. Pools have no weights."""
    stages = [f'backbone.stages.{i}' for i in range(3)]
    widths = [channels(state_dict, f'{stage}.embed.shortcut.conv.weight') for stage in stages]
    units = count(state_dict, r'backbone\.stages\.0\.embed\.convs\.(\d+)\.')
    names = [f'{stages[0]}.embed.convs.{i}.conv.weight' for i in range(units)]
    hidden = channels(state_dict, f'{stages[0]}.blocks.0.mlp.fc1.conv.bias')
    arch = dict(
        base='ms_qkformer',
        embed_dims=widths,
        depths=[count(state_dict, rf'{stage}\.blocks\.(\d+)\.') for stage in stages],
        num_heads=[1] * 3,
        mlp_ratios=[hidden / widths[0]] * 3,
        attentions=['QKTokenAttention', 'QKTokenAttention', 'SpikingSelfAttention'],
        stem=dict(
            channels=[channels(state_dict, name) for name in names],
            pools=[False] * units,
            shortcut_from=1,
        ),
        pool='first',
    )
    return dict(type='SpikingBackbone', arch=arch, out='stream')


BLOCKS = [
    (rf'{BLOCK}\.attn\.proj_lif', 'backbone.{1}.blocks.{2}.attention_neuron'),
    (r'(stage[12])\.(\d+)\.attn\.attn_lif', 'backbone.{1}.blocks.{2}.attention.mask_neuron'),
    *attention_rules('stage3'),
    *MLP,
]

register_family(
    Family(
        name='ms_qkformer',
        marks=[['patch_embed1.rpe_conv.weight', 'patch_embed2.proj_res_conv.weight']],
        rules=[
            (r'(patch_embed1)\.proj_(lif)1', 'backbone.{1}.embed.convs.0.{2}'),
            (r'(patch_embed1)\.proj_(lif)2', 'backbone.{1}.embed.convs.1.{2}'),
            (r'(patch_embed1)\.proj_(conv|bn)([12]?)', 'backbone.{1}.embed.convs.{3}.{2}'),
            (r'(patch_embed\d)\.(?:rpe|proj_res)_(conv|bn)', 'backbone.{1}.embed.shortcut.{2}'),
            (r'(patch_embed\d)\.init_lif', 'backbone.{1}.embed.neuron'),
            (r'(patch_embed\d)\.proj3_(conv|bn|lif)', 'backbone.{1}.embed.convs.0.{2}'),
            (r'(patch_embed\d)\.proj4_(conv|bn)', 'backbone.{1}.embed.convs.1.{2}'),
            *BLOCKS,
            *HEAD,
        ],
        words={**WORDS, '': '0'},
        backbone=backbone,
    )
)
