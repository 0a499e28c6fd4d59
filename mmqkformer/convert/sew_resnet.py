"""SEW-ResNet's release: blocks of two convolutions, SEW-ResNet-18 and -34.

What joins a block's spikes to its input's has no weights.
"""

from collections.abc import Mapping

from torch import Tensor

from .table import Family, channels, count, register_family

_STAGES = 4
# SpikingJelly's container keeps its layers as `module` in the pinned commit, by number later
_UNIT = r'(?:\.module)?(\.[01])'
_LATER = r'(layer[1-4])\.([1-9]\d*)'
_BLOCK = 'backbone.{1}.blocks.{2}'
_EMBED = 'backbone.stages.0.embed'


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`."""
    bottleneck = 'backbone.stages.0.blocks.0.conv.conv3.conv.weight' in state_dict
    firsts = [f'backbone.stages.{i}.embed.conv1' for i in range(_STAGES)]
    blocks = [rf'backbone\.stages\.{i}\.blocks\.(\d+)\.' for i in range(_STAGES)]
    arch = dict(
        base='sew_resnet',
        depths=[1 + count(state_dict, pattern) for pattern in blocks],
        bottleneck=bottleneck,
        embed_dims=[channels(state_dict, f'{first}.conv.weight') for first in firsts],
    )
    return dict(type='SpikingBackbone', arch=arch, neuron=dict(type='IFNeuron'))


def rules(convolutions: int) -> list[tuple[str, str]]:
    """The table of blocks of so many convolutions, whose last neuron is the residual's."""
    inner = f'[1-{convolutions - 1}]'
    return [
        ('conv1', _EMBED + '.convs.0.conv'),
        ('bn1', _EMBED + '.convs.0.norm'),
        ('sn1', _EMBED + '.convs.0.neuron'),
        (rf'(layer[1-4])\.0\.(conv\d){_UNIT}', 'backbone.{1}.embed.{2}{3}'),
        (r'(layer[1-4])\.0\.(sn\d)', 'backbone.{1}.embed.{2}.neuron'),
        (rf'(layer[1-4])\.0\.downsample\.0{_UNIT}', 'backbone.{1}.embed.shortcut{2}'),
        (r'(layer[1-4])\.0\.downsample\.1', 'backbone.{1}.embed.shortcut.neuron'),
        (rf'{_LATER}\.(conv\d){_UNIT}', _BLOCK + '.conv.{3}{4}'),
        (rf'{_LATER}\.(sn{inner})', _BLOCK + '.conv.{3}.neuron'),
        (rf'{_LATER}\.sn{convolutions}', _BLOCK + '.conv_neuron'),
        ('fc', 'head.fc'),
    ]


WORDS = {
    **{f'layer{i + 1}': f'stages.{i}' for i in range(_STAGES)},
    # The first block of a stage is in its embedding
    **{str(i + 1): str(i) for i in range(99)},
    **{f'sn{i}': f'conv{i}' for i in (1, 2, 3)},
    '.0': '.conv',
    '.1': '.norm',
}
# Those of both forms
FIRST = [['bn1.weight', f'layer1.0.conv1{module}.0.weight'] for module in ('.module', '')]

register_family(
    Family(
        name='sew_resnet',
        marks=FIRST,
        without=['layer1.0.conv3.module.0.weight', 'layer1.0.conv3.0.weight'],
        rules=rules(2),
        words=WORDS,
        backbone=backbone,
    )
)
