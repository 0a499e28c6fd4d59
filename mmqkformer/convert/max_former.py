"""Max-Former's release for ImageNet, and what its forms share.

Those for CIFAR and events, and MS-QKFormer's two, use the same names for other places, and so are
families of their own. Weights of one time step and of four have the same shapes.
"""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from .table import Family, channels, count, register_family

BLOCK = r'(stage\d)\.(\d+)'
# Neurons come first: fc2's is that behind fc1
MLP = [
    (rf'{BLOCK}\.mlp\.fc1_lif', 'backbone.{1}.blocks.{2}.mlp_neuron'),
    (rf'{BLOCK}\.mlp\.fc2_lif', 'backbone.{1}.blocks.{2}.mlp.fc1.neuron'),
    (rf'{BLOCK}\.mlp\.(fc[12])_(conv|bn)', 'backbone.{1}.blocks.{2}.mlp.{3}.{4}'),
]
HEAD = [('head_lif', 'head.neuron'), ('head', 'head.fc')]
WORDS = {
    **{f'{part}{i + 1}': f'stages.{i}' for part in ('patch_embed', 'stage') for i in range(3)},
    'q': 'query',
    'k': 'key',
    'v': 'value',
    'bn': 'norm',
    'lif': 'neuron',
    # Of a depthwise convolution
    '': 'conv',
    '_bn': 'norm',
}


def attention_rules(stage: str) -> list[tuple[str, str]]:
    """Rules of attentions, of which those of ``stage``, the last, are self attentions."""
    return [
        (rf'{BLOCK}\.attn\.x_lif', 'backbone.{1}.blocks.{2}.attention_neuron'),
        (
            rf'({stage})\.(\d+)\.attn\.attn_lif',
            'backbone.{1}.blocks.{2}.attention.product_neuron',
        ),
        (
            rf'{BLOCK}\.attn\.(q|k|v|proj)_(conv|bn|lif)',
            'backbone.{1}.blocks.{2}.attention.{3}.{4}',
        ),
    ]


def embed_rules(
    embeds: str, first: str, *others: str, neurons: Mapping[str, str], shortcut: str
) -> list[tuple[str, str]]:
    """Rules of the release's embeddings, whose parts are ``{part}.embed_conv`` and such.

    Args:
        embeds (str): Expression of the embeddings' names, one group.
        first (str): Part that is the first unit; a stem's that has no ``embed_`` ends with ``_``.
        *others (str): Parts that are the other units.
        neurons (Mapping[str, str]): What the neuron of a part, which fires in front of it, is in
            our embedding.
        shortcut (str): Part that is the shortcut.

    Returns:
        list[tuple[str, str]]: For :class:`Family`.
    """
    place = 'backbone.{1}.embed.'
    units = {part: f'convs.{i}' for i, part in enumerate((first, *others))}
    rules = [(rf'{embeds}\.{part}\.embed_lif', place + neuron) for part, neuron in neurons.items()]
    for part, unit in {**units, shortcut: 'shortcut'}.items():
        leaf = part if part.endswith('_') else rf'{part}\.embed_'
        rules.append((rf'{embeds}\.{leaf}(conv|bn)', f'{place}{unit}.{{2}}'))
    return rules


def backbone(data: str, state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`; ``data`` is an argument of the architecture."""
    stages = [f'backbone.stages.{i}' for i in range(2 if data == 'events' else 3)]
    widths = [channels(state_dict, f'{stage}.embed.shortcut.conv.weight') for stage in stages]
    kernels = [
        channels(state_dict, f'{stage}.blocks.0.mixer.conv.conv.weight', axis=3)
        for stage in stages[data == 'cifar' : -1]
    ]
    ratio = 1.0
    if data != 'events':
        hidden = channels(state_dict, f'{stages[0]}.blocks.0.mlp.fc1.conv.bias')
        ratio = hidden / widths[0]
    arch = dict(
        base='max_former',
        embed_dims=widths,
        depths=[count(state_dict, rf'{stage}\.blocks\.(\d+)\.') for stage in stages],
        kernel_sizes=[0, *kernels] if data == 'cifar' else kernels,
        num_heads=1,
        data=data,
        mlp_ratio=ratio,
    )
    in_channels = channels(state_dict, f'{stages[0]}.embed.convs.0.conv.weight', axis=1)
    return dict(type='SpikingBackbone', in_channels=in_channels, arch=arch, out='stream')


BETWEEN = embed_rules(
    r'(patch_embed[23])',
    'max_embed1',
    'embed1',
    neurons={'max_embed1': 'neuron', 'embed1': 'convs.0.neuron'},
    shortcut='max_embed2',
)
MIXER = [
    (rf'{BLOCK}\.mixer\.conv5?_neuron', 'backbone.{1}.blocks.{2}.mixer_neuron'),
    (rf'{BLOCK}\.mixer\.conv5?(_bn)?', 'backbone.{1}.blocks.{2}.mixer.conv.{3}'),
]
STEM = '(patch_embed1)'

register_family(
    Family(
        name='max_former',
        marks=[['patch_embed1.embed4.embed_conv.weight', 'stage1.0.mixer.conv5.weight']],
        rules=[
            *embed_rules(
                STEM,
                'embed1',
                'embed2',
                'embed3',
                neurons={'embed2': 'convs.0.neuron', 'embed3': 'convs.1.neuron'},
                shortcut='embed4',
            ),
            *BETWEEN,
            *MIXER,
            *attention_rules('stage3'),
            *MLP,
            *HEAD,
        ],
        words=WORDS,
        backbone=partial(backbone, 'imagenet'),
    )
)
