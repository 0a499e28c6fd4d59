"""SpikingResformer's release, one form for images and events."""

from collections.abc import Mapping

from torch import Tensor

from .table import Family, channels, count, register_family

_STAGES = 3


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`."""
    stages = [f'backbone.stages.{i}' for i in range(_STAGES)]
    widths = [channels(state_dict, f'{stage}.embed.convs.0.conv.weight') for stage in stages]
    keys = [f'{stage}.blocks.0.attention' for stage in stages]
    up = channels(state_dict, f'{stages[0]}.blocks.0.mlp.up.conv.weight')
    small = channels(state_dict, f'{stages[0]}.embed.convs.0.conv.weight', axis=2) == 3
    arch = dict(
        base='spikingresformer',
        embed_dims=widths,
        num_heads=[channels(state_dict, f'{key}.input_rate.rate', axis=2) for key in keys],
        depths=[count(state_dict, rf'{stage}\.blocks\.(\d+)\.') for stage in stages],
        patch_sizes=[channels(state_dict, f'{key}.key_value.conv.weight', axis=2) for key in keys],
        mlp_ratio=up / widths[0],
        group_size=channels(state_dict, f'{stages[0]}.blocks.0.mlp.conv.conv.weight', axis=1),
        data='small' if small else 'imagenet',
    )
    learnt = any(name.endswith('neuron.w') for name in state_dict)
    neuron = dict(type='PLIFNeuron' if learnt else 'LIFNeuron')
    return dict(type='SpikingBackbone', arch=arch, neuron=neuron, out='stream')


_ATTENTION = r'(layers\.\d)\.(\d+)'
_MLP = rf'{_ATTENTION}\.(up|conv\.0|down)'
_BLOCK = 'backbone.{1}.blocks.{2}'

register_family(
    Family(
        name='spikingresformer',
        marks=[['prologue.0.weight', 'layers.0.0.Wproj.weight']],
        rules=[
            (r'prologue\.0', 'backbone.stages.0.embed.convs.0.conv'),
            (r'prologue\.1\.bn', 'backbone.stages.0.embed.convs.0.norm'),
            (
                r'(layers\.[12])\.0\.(conv|norm\.bn|activation)',
                'backbone.{1}.embed.convs.0.{2}',
            ),
            (rf'{_ATTENTION}\.activation_in', _BLOCK + '.attention_neuron'),
            (rf'{_ATTENTION}\.activation_attn', _BLOCK + '.attention.map_neuron'),
            (rf'{_ATTENTION}\.activation_out', _BLOCK + '.attention.product_neuron'),
            (rf'{_ATTENTION}\.(W|norm\.bn)', _BLOCK + '.attention.key_value.{3}'),
            (rf'{_ATTENTION}\.(Wproj|norm_proj\.bn)', _BLOCK + '.attention.proj.{3}'),
            (rf'{_ATTENTION}\.(firing_rate_\w+)', _BLOCK + '.attention.{3}.rate'),
            # The residual's neuron is in front
            (rf'{_ATTENTION}\.up\.0', _BLOCK + '.mlp_neuron'),
            (rf'{_MLP}\.0', _BLOCK + '.mlp.{3}.neuron'),
            (rf'{_MLP}\.1', _BLOCK + '.mlp.{3}.conv'),
            (rf'{_MLP}\.2\.bn', _BLOCK + '.mlp.{3}.norm'),
            ('classifier', 'head.fc'),
        ],
        words={
            **{f'layers.{i}': f'stages.{i}' for i in range(_STAGES)},
            # A block is two layers; in front of those of the later stages is the embedding, and
            # the first has one block
            **{str(i): str((i - 1) // 2) for i in range(1, 7)},
            'norm.bn': 'norm',
            'norm_proj.bn': 'norm',
            'W': 'conv',
            'Wproj': 'conv',
            'conv.0': 'conv',
            'activation': 'neuron',
            'firing_rate_x': 'input_rate',
            'firing_rate_attn': 'map_rate',
        },
        backbone=backbone,
        head_bias=False,
    )
)
