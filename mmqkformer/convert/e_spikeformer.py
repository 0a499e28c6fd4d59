"""E-SpikeFormer's release, the base models."""

from collections.abc import Mapping

from torch import Tensor

from .meta_spikeformer import BLOCK, WORDS, arguments
from .table import Family, register_family


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`."""
    arch = dict(base='e_spikeformer', **arguments(state_dict))
    return dict(type='SpikingBackbone', arch=arch, out='stream')


_CONV_BLOCK = r'(ConvBlock\d_\d)\.0'
_SEP_CONVS = r'((?:pwconv[12]|dwconv)\.[01])'

register_family(
    Family(
        name='e_spikeformer',
        marks=[['downsample1_1.encode_conv.weight', 'block3.0.conv.dwconv.0.weight']],
        rules=[
            (r'(downsample\w+)\.encode_(conv|bn|spike)', 'backbone.{1}.embed.convs.0.{2}'),
            (rf'{_CONV_BLOCK}\.Conv\.{_SEP_CONVS}', 'backbone.{1}.sep.{2}'),
            (rf'{_CONV_BLOCK}\.Conv\.spike1', 'backbone.{1}.sep_neuron'),
            (rf'{_CONV_BLOCK}\.Conv\.(spike[23])', 'backbone.{1}.sep.{2}'),
            (rf'{_CONV_BLOCK}\.conv([12])', 'backbone.{1}.conv.conv{2}.conv'),
            (rf'{_CONV_BLOCK}\.bn([12])', 'backbone.{1}.conv.conv{2}.norm'),
            (rf'{_CONV_BLOCK}\.spike1', 'backbone.{1}.conv_neuron'),
            (rf'{_CONV_BLOCK}\.spike2', 'backbone.{1}.conv.conv1.neuron'),
            (rf'{BLOCK}\.conv\.{_SEP_CONVS}', 'backbone.{1}.blocks.{2}.sep.{3}'),
            (rf'{BLOCK}\.conv\.spike1', 'backbone.{1}.blocks.{2}.sep_neuron'),
            (rf'{BLOCK}\.conv\.(spike[23])', 'backbone.{1}.blocks.{2}.sep.{3}'),
            (rf'{BLOCK}\.attn\.head_spike', 'backbone.{1}.blocks.{2}.attention_neuron'),
            (rf'{BLOCK}\.attn\.attn_spike', 'backbone.{1}.blocks.{2}.attention.product_neuron'),
            (
                rf'{BLOCK}\.attn\.(q|k|v|proj)_(conv\.[01]|spike)',
                'backbone.{1}.blocks.{2}.attention.{3}.{4}',
            ),
            # Neurons come first: fc2's is that behind fc1
            (rf'{BLOCK}\.mlp\.fc1_spike', 'backbone.{1}.blocks.{2}.mlp_neuron'),
            (rf'{BLOCK}\.mlp\.fc2_spike', 'backbone.{1}.blocks.{2}.mlp.fc1.neuron'),
            (rf'{BLOCK}\.mlp\.(fc[12])_(conv|bn)', 'backbone.{1}.blocks.{2}.mlp.{3}.{4}'),
            ('spike', 'head.neuron'),
            ('head', 'head.fc'),
        ],
        words={
            **WORDS,
            'conv.0': 'conv',
            'conv.1': 'norm',
            'pwconv1.0': 'expand.conv',
            'pwconv1.1': 'expand.norm',
            'dwconv.0': 'depthwise.conv',
            'dwconv.1': 'depthwise.norm',
            'pwconv2.0': 'reduce.conv',
            'pwconv2.1': 'reduce.norm',
            'spike': 'neuron',
            'spike2': 'expand.neuron',
            'spike3': 'depthwise.neuron',
        },
        backbone=backbone,
    )
)
