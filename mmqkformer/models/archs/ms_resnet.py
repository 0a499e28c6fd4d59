"""MS-ResNet (TNNLS 2024, arXiv 2112.08954): a ResNet whose shortcuts are those of membranes."""

from collections.abc import Sequence

from ...checks import check_bool, check_int, check_list
from ...layers.conv import MAX_CHANNELS
from .registry import MAX_DEPTH, register_arch

_STAGES = 4
_WIDTHS = (64, 128, 256, 512)


@register_arch(
    'ms_resnet',
    **{
        'ms-resnet-18': dict(depths=[2, 2, 2, 2]),
        'ms-resnet-34': dict(depths=[3, 4, 6, 3]),
        'ms-resnet-104': dict(depths=[3, 8, 32, 8], deep=True),
    },
)
def ms_resnet(
    depths: Sequence[int], deep: bool = False, embed_dims: Sequence[int] = _WIDTHS
) -> list[dict]:
    """Four stages, whose first block is the embedding, of strides 4, 8, 16 and 32.

    The release's neurons have ``decay_input=False``, a tau of 4/3 (a quarter of the membrane
    stays), a strict threshold of 0.5 and a rectangular surrogate; its head averages their spikes on
    the last membrane, ``out='rates'``.

    Args:
        depths (Sequence[int]): Blocks of each stage, that in the embedding included.
        deep (bool): Whether the stem is three 3 x 3 convolutions with biases, and shortcuts average
            2 x 2 membranes, instead of a 7 x 7 convolution and shortcuts with strides. Defaults to
            False.
        embed_dims (Sequence[int]): Channels of each stage. Defaults to (64, 128, 256, 512).

    Returns:
        list[dict]: The stages.

    Raises:
        ValueError: A value is out of range.
    """
    check_list('depths', depths, check_int, length=_STAGES, low=1, high=MAX_DEPTH)
    check_bool('deep', deep)
    check_list('embed_dims', embed_dims, check_int, length=_STAGES, low=1, high=MAX_CHANNELS)
    shortcut = dict(stride=2)
    stem = [dict(channels=embed_dims[0], kernel_size=7, stride=2, fire='none')]
    if deep:
        shortcut = dict(pool='before_conv', pool_type='avg2')
        conv = dict(channels=embed_dims[0], bias=True, fire='none')
        # No norm between the convolutions
        stem = [dict(conv, stride=2, norm=False), dict(conv, norm=False), conv]
    branch = dict(type='ConvBranch', name='conv', ratio=1, residual='membrane')
    stages = []
    for i, width in enumerate(embed_dims):
        block = [
            dict(name='conv1', channels=width, stride=2, fire='first'),
            dict(name='conv2', fire='first'),
        ]
        embed = dict(
            type='ConvEmbed',
            units=block if i else [*stem, *block],
            shortcut=shortcut,
            shortcut_from=0 if i else len(stem),
            shortcut_on='membrane',
        )
        stages.append(dict(embed=embed, block=[branch], channels=width, depth=depths[i] - 1))
    return stages
