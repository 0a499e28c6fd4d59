"""MS-ResNet's release: MS-ResNet-18 and -34, and -104 with another stem and other shortcuts."""

from collections.abc import Mapping

from torch import Tensor

from .table import Family, channels, count, register_family

_STAGES = 4
_FIRST = r'(conv[2-5]_x)\.0'
_LATER = r'(conv[2-5]_x)\.([1-9]\d*)'
_STEM = 'backbone.stages.0.embed.convs'
_EMBED = 'backbone.{1}.embed'
_BLOCK = 'backbone.{1}.blocks.{2}'


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`."""
    stages = [f'backbone.stages.{i}' for i in range(_STAGES)]
    arch = dict(
        base='ms_resnet',
        depths=[1 + count(state_dict, rf'{stage}\.blocks\.(\d+)\.') for stage in stages],
        deep=f'{_STEM}.2.conv.weight' in state_dict,
        embed_dims=[channels(state_dict, f'{stage}.embed.conv1.conv.weight') for stage in stages],
    )
    return dict(type='SpikingBackbone', arch=arch)


register_family(
    Family(
        name='ms_resnet',
        marks=[['conv2_x.0.residual_function.1.weight', 'conv2_x.0.residual_function.5.bn.weight']],
        rules=[
            (r'conv1\.1\.bn', _STEM + '.0.norm'),
            (r'conv1\.3\.bn', _STEM + '.2.norm'),
            (r'(conv1\.[012])', 'backbone.stages.0.embed.{1}.conv'),
            # The neurons stand in front of their convolutions
            (rf'{_FIRST}\.(residual_function\.[03])', _EMBED + '.{2}.neuron'),
            (rf'{_FIRST}\.(residual_function\.[14])', _EMBED + '.{2}.conv'),
            (rf'{_FIRST}\.(residual_function\.[25])\.bn', _EMBED + '.{2}.norm'),
            (rf'{_FIRST}\.shortcut\.[01]', _EMBED + '.shortcut.conv'),
            (rf'{_FIRST}\.shortcut\.[12]\.bn', _EMBED + '.shortcut.norm'),
            (rf'{_LATER}\.residual_function\.0', _BLOCK + '.conv_neuron'),
            (rf'{_LATER}\.residual_function\.3', _BLOCK + '.conv.conv1.neuron'),
            (rf'{_LATER}\.(residual_function\.[14])', _BLOCK + '.conv.{3}.conv'),
            (rf'{_LATER}\.(residual_function\.[25])\.bn', _BLOCK + '.conv.{3}.norm'),
            ('mem_update', f'backbone.out_neurons.{_STAGES - 1}'),
            ('fc', 'head.fc'),
        ],
        words={
            **{f'conv{i + 2}_x': f'stages.{i}' for i in range(_STAGES)},
            **{f'residual_function.{i}': f'conv{1 + i // 3}' for i in range(6)},
            # The first block of a stage is in its embedding
            **{str(i): str(i - 1) for i in range(1, 100)},
            **{f'conv1.{i}': f'convs.{i}' for i in range(3)},
        },
        backbone=backbone,
    )
)
