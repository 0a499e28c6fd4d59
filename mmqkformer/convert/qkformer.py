"""QKFormer's release: HST-10 (ImageNet), HST-4 (CIFAR) and HST-2 (events)."""

from collections.abc import Mapping

from torch import Tensor

from .table import Family, channels, count, register_family


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`."""
    stages = [_stage(state_dict, i) for i in range(count(state_dict, r'backbone\.stages\.(\d+)\.'))]
    stem = 'backbone.stages.0.embed.convs'
    units = count(state_dict, rf'{stem}\.(\d+)\.')
    stages[0]['embed'] = dict(
        type='PEDSStem',
        channels=[channels(state_dict, f'{stem}.{i}.conv.weight') for i in range(units)],
        pools=[False] * units,
        shortcut_from=2 if len(stages) == 2 else 1,
    )
    stages[-1]['block']['attention'] = dict(type='SpikingSelfAttention', num_heads=1)
    in_channels = channels(state_dict, f'{stem}.0.conv.weight', axis=1)
    return dict(type='QKFormer', in_channels=in_channels, stages=stages)


def _stage(state_dict: Mapping[str, Tensor], i: int) -> dict:
    """A stage with PEDS and token attention, as those between the first and the last."""
    width = channels(state_dict, f'backbone.stages.{i}.embed.shortcut.conv.weight')
    hidden = channels(state_dict, f'backbone.stages.{i}.blocks.0.mlp.fc1.conv.bias')
    return dict(
        embed=dict(type='PEDS'),
        block=dict(
            attention=dict(type='QKTokenAttention', num_heads=1),
            mlp=dict(type='SpikingMLP', ratio=hidden / width),
        ),
        channels=width,
        depth=count(state_dict, rf'backbone\.stages\.{i}\.blocks\.(\d+)\.'),
    )


_EMBED = r'(patch_embed\d)'
_BLOCK = r'(stage\d)\.(\d+)'
_KIND = '(conv|bn|lif)'

register_family(
    Family(
        name='qkformer',
        marks=[
            ['patch_embed1.proj2_conv.weight', 'stage3.0.attn.q_conv.weight'],
            ['patch_embed1.proj1_conv.weight', 'stage3.0.ssa.q_conv.weight'],
            ['patch_embed1.proj3_conv.weight', 'stage2.0.ssa.q_conv.weight'],
        ],
        rules=[
            (rf'patch_embed1\.proj(\d?)_{_KIND}', 'backbone.stages.0.embed.convs.{1}.{2}'),
            (rf'{_EMBED}\.proj_res_{_KIND}', 'backbone.{1}.embed.shortcut.{2}'),
            (rf'{_EMBED}\.proj3?_{_KIND}', 'backbone.{1}.embed.convs.0.{2}'),
            (rf'{_EMBED}\.proj4_{_KIND}', 'backbone.{1}.embed.convs.1.{2}'),
            (rf'{_BLOCK}\.tssa\.attn_lif', 'backbone.{1}.blocks.{2}.attention.mask_neuron'),
            (
                rf'{_BLOCK}\.(?:ssa|attn)\.attn_lif',
                'backbone.{1}.blocks.{2}.attention.product_neuron',
            ),
            (rf'{_BLOCK}\.(?:tssa|ssa|attn)\.proj_lif', 'backbone.{1}.blocks.{2}.attention_neuron'),
            (
                rf'{_BLOCK}\.(?:tssa|ssa|attn)\.(q|k|v|proj)_{_KIND}',
                'backbone.{1}.blocks.{2}.attention.{3}.{4}',
            ),
            (rf'{_BLOCK}\.mlp\.(?:fc|mlp)2_lif', 'backbone.{1}.blocks.{2}.mlp_neuron'),
            (rf'{_BLOCK}\.mlp\.(fc1|fc2|mlp1|mlp2)_{_KIND}', 'backbone.{1}.blocks.{2}.mlp.{3}.{4}'),
            ('head', 'head.fc'),
        ],
        words={
            **{
                f'{part}{i + 1}': f'stages.{i}'
                for part in ('patch_embed', 'stage')
                for i in range(3)
            },
            '': '0',
            'q': 'query',
            'k': 'key',
            'v': 'value',
            'bn': 'norm',
            'lif': 'neuron',
            'mlp1': 'fc1',
            'mlp2': 'fc2',
        },
        backbone=backbone,
    )
)
