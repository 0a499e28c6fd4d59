"""SEW-ResNet's release: the networks for events, of seven blocks, and what pools between them."""

from collections.abc import Mapping

from torch import Tensor

from .table import Family, channels, register_family

_BLOCKS = 7
# SpikingJelly's container keeps its layers as `module` in the pinned commit, by number later
_UNIT = r'\.0(?:\.module)?(\.[01])'
_UP = 'backbone.{1}.embed.convs.0'
_BLOCK = 'backbone.{1}.blocks.0'


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`."""
    convs = [f'backbone.stages.{i}.blocks.0.conv.conv1.conv.weight' for i in range(_BLOCKS)]
    arch = dict(base='sew_resnet_events', embed_dims=[channels(state_dict, conv) for conv in convs])
    in_channels = channels(state_dict, 'backbone.stages.0.embed.convs.0.conv.weight', axis=1)
    neuron = dict(type='PLIFNeuron')
    return dict(type='SpikingBackbone', in_channels=in_channels, arch=arch, neuron=neuron)


register_family(
    Family(
        name='sew_resnet_events',
        marks=[
            ['out.weight', f'conv.1.conv.0.0{module}.0.weight', 'conv.1.conv.0.1.w']
            for module in ('.module', '')
        ],
        rules=[
            (rf'(conv\.\d+){_UNIT}', _UP + '{2}'),
            (r'(conv\.\d+)\.1', _UP + '.neuron'),
            (rf'(conv\.\d+)\.conv\.0{_UNIT}', _BLOCK + '.conv.conv1{2}'),
            (rf'(conv\.\d+)\.conv\.1{_UNIT}', _BLOCK + '.conv.conv2{2}'),
            (r'(conv\.\d+)\.conv\.0\.1', _BLOCK + '.conv.conv1.neuron'),
            (r'(conv\.\d+)\.conv\.1\.1', _BLOCK + '.conv_neuron'),
            ('out', 'head.fc'),
        ],
        words={
            # A convolution in front of the first block, and pools behind all
            'conv.0': 'stages.0',
            **{f'conv.{2 * i + 1}': f'stages.{i}' for i in range(_BLOCKS)},
            # In the wide network another convolution, conv.9, in front of the fifth
            **{f'conv.{2 * i + 2}': f'stages.{i}' for i in range(4, _BLOCKS)},
            '.0': '.conv',
            '.1': '.norm',
        },
        backbone=backbone,
    )
)
