"""Meta-SpikeFormer's release, with one classifier or with a second that was distilled."""

from collections.abc import Mapping

from torch import Tensor

from .table import Family, channels, count, register_family


def arguments(state_dict: Mapping[str, Tensor]) -> dict:
    """What a renamed state dict tells of the architecture's arguments."""
    stages = [f'backbone.stages.{i}' for i in range(5)]
    widths = [channels(state_dict, f'{stage}.embed.convs.0.conv.bias') for stage in stages]
    hidden = channels(state_dict, f'{stages[3]}.blocks.0.mlp.fc1.conv.bias')
    return dict(
        embed_dims=widths,
        depths=[count(state_dict, rf'backbone\.stages\.{i}\.blocks\.(\d+)\.') for i in range(5)],
        num_heads=1,
        mlp_ratio=hidden / widths[3],
    )


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`."""
    arch = dict(base='meta_spikeformer', **arguments(state_dict))
    return dict(type='SpikingBackbone', arch=arch, out='stream')


_CONV_BLOCK = r'(ConvBlock\d_\d)\.0'
BLOCK = r'(block[34])\.(\d+)'
_ATTENTION = rf'{BLOCK}\.attn\.(q|k|v|proj)'

MARKS = ('downsample1_1.encode_conv.weight', 'block3.0.attn.q_conv.0.body.0.weight')
RULES = [
    (r'(downsample\w+)\.encode_(conv|bn|lif)', 'backbone.{1}.embed.convs.0.{2}'),
    (rf'{_CONV_BLOCK}\.Conv\.lif1', 'backbone.{1}.sep_neuron'),
    (rf'{_CONV_BLOCK}\.Conv\.lif2', 'backbone.{1}.sep.expand.neuron'),
    (rf'{_CONV_BLOCK}\.Conv\.dwconv', 'backbone.{1}.sep.depthwise'),
    (rf'{_CONV_BLOCK}\.Conv\.(pwconv[12])', 'backbone.{1}.sep.{2}.conv'),
    (rf'{_CONV_BLOCK}\.Conv\.(bn[12])', 'backbone.{1}.sep.{2}.norm'),
    (rf'{_CONV_BLOCK}\.lif1', 'backbone.{1}.conv_neuron'),
    (rf'{_CONV_BLOCK}\.lif2', 'backbone.{1}.conv.conv1.neuron'),
    (rf'{_CONV_BLOCK}\.conv([12])', 'backbone.{1}.conv.conv{2}.conv'),
    (rf'{_CONV_BLOCK}\.bn([12])', 'backbone.{1}.conv.conv{2}.norm'),
    (rf'{BLOCK}\.attn\.head_lif', 'backbone.{1}.blocks.{2}.attention_neuron'),
    (rf'{BLOCK}\.attn\.attn_lif', 'backbone.{1}.blocks.{2}.attention.product_neuron'),
    (rf'{_ATTENTION}_(lif)', 'backbone.{1}.blocks.{2}.attention.{3}.{4}'),
    (
        rf'{_ATTENTION}_conv\.0\.(body\.(?:0|1\.bn|2\.[012]))',
        'backbone.{1}.blocks.{2}.attention.{3}.conv.{4}',
    ),
    (rf'{_ATTENTION}_conv\.1', 'backbone.{1}.blocks.{2}.attention.{3}.norm'),
    # Neurons come first: fc2's is that behind fc1
    (rf'{BLOCK}\.mlp\.fc1_lif', 'backbone.{1}.blocks.{2}.mlp_neuron'),
    (rf'{BLOCK}\.mlp\.fc2_lif', 'backbone.{1}.blocks.{2}.mlp.fc1.neuron'),
    (rf'{BLOCK}\.mlp\.(fc[12])_(conv|bn)', 'backbone.{1}.blocks.{2}.mlp.{3}.{4}'),
    ('lif', 'head.neuron'),
    ('head', 'head.fc'),
]
WORDS = {
    'downsample1_1': 'stages.0',
    'downsample1_2': 'stages.1',
    'downsample2': 'stages.2',
    'downsample3': 'stages.3',
    'downsample4': 'stages.4',
    'ConvBlock1_1': 'stages.0.blocks.0',
    'ConvBlock1_2': 'stages.1.blocks.0',
    'ConvBlock2_1': 'stages.2.blocks.0',
    'ConvBlock2_2': 'stages.2.blocks.1',
    'block3': 'stages.3',
    'block4': 'stages.4',
    'pwconv1': 'expand',
    'bn1': 'expand',
    'pwconv2': 'reduce',
    'bn2': 'reduce',
    'q': 'query',
    'k': 'key',
    'v': 'value',
    'body.0': 'mix',
    'body.1.bn': 'border.norm',
    'body.2.0': 'depthwise',
    'body.2.1': 'pointwise',
    'body.2.2': 'norm',
    'bn': 'norm',
    'lif': 'neuron',
}

register_family(
    Family(
        name='meta_spikeformer',
        marks=[MARKS],
        rules=[*RULES, ('head_kd', 'head.fc_distilled')],
        words=WORDS,
        backbone=backbone,
    )
)
