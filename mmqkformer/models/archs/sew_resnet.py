"""SEW-ResNet (NeurIPS 2021, arXiv 2102.04159): a ResNet whose shortcuts join spikes."""

from collections.abc import Sequence

from ...checks import check_bool, check_int, check_list, check_str
from ...layers.conv import MAX_CHANNELS
from .registry import MAX_DEPTH, register_arch

_STAGES = 4
_WIDTHS = (64, 128, 256, 512)
# Channels of a bottleneck's last convolution over those of the others
_EXPANSION = 4
_DEPTHS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}
_BOTTLENECKS = {50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}


@register_arch(
    'sew_resnet',
    **{f'sew-resnet-{layers}': dict(depths=depths) for layers, depths in _DEPTHS.items()},
    **{
        f'sew-resnet-{layers}': dict(depths=depths, bottleneck=True)
        for layers, depths in _BOTTLENECKS.items()
    },
    **{
        f'sew-resnet-{layers}-{connect}': dict(depths=depths, connect=connect)
        for layers, depths in _DEPTHS.items()
        for connect in ('and', 'iand')
    },
)
def sew_resnet(
    depths: Sequence[int],
    bottleneck: bool = False,
    connect: str = 'add',
    embed_dims: Sequence[int] = _WIDTHS,
) -> list[dict]:
    """Four stages, whose first block is the embedding, of strides 4, 8, 16 and 32.

    The release's neurons do not leak (``IFNeuron``) and have an atan surrogate. It repeats an image
    behind the first norm, which so counts it once.

    Args:
        depths (Sequence[int]): Blocks of each stage, that in the embedding included.
        bottleneck (bool): Whether a block is three convolutions, around a narrow one, or two.
            Defaults to False.
        connect (str): How a block's spikes join its input's: ``add``, ``and`` or ``iand``. Defaults
            to ``add``.
        embed_dims (Sequence[int]): Channels of each stage's 3 x 3 convolutions. Defaults to (64,
            128, 256, 512).

    Returns:
        list[dict]: The stages.

    Raises:
        ValueError: A value is out of range.
    """
    check_list('depths', depths, check_int, length=_STAGES, low=1, high=MAX_DEPTH)
    check_bool('bottleneck', bottleneck)
    check_str('connect', connect, ('add', 'and', 'iand'))
    expansion = _EXPANSION if bottleneck else 1
    check_list(
        'embed_dims', embed_dims, check_int, length=_STAGES, low=1, high=MAX_CHANNELS // expansion
    )
    kernels = (1, 3, 1) if bottleneck else (3, 3)
    branch = dict(
        type='ConvBranch',
        name='conv',
        ratio=1 / expansion,
        kernel_size=kernels,
        residual=connect,
    )
    stages = []
    for i, width in enumerate(embed_dims):
        units = [
            dict(name=f'conv{j}', channels=width, kernel_size=kernel)
            for j, kernel in enumerate(kernels, 1)
        ]
        del units[-1]['channels']
        shortcut = 'conv'
        if i:
            units[kernels.index(3)]['stride'] = 2
        else:
            prologue = dict(
                channels=width, kernel_size=7, stride=2, pool='after_neuron', count_copies=False
            )
            units.insert(0, prologue)
            shortcut = 'conv' if bottleneck else 'identity'
        embed = dict(
            type='ConvEmbed',
            units=units,
            shortcut=shortcut,
            shortcut_from=int(i == 0),
            join=connect,
        )
        stages.append(
            dict(embed=embed, block=[branch], channels=width * expansion, depth=depths[i] - 1)
        )
    return stages
