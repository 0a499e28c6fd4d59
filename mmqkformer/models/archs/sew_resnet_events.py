"""SEW-ResNet's networks for events (arXiv 2102.04159): seven blocks, a max-pool behind each."""

from collections.abc import Sequence
from itertools import pairwise

from ...checks import check_int, check_list
from ...layers.conv import MAX_CHANNELS
from .registry import register_arch

_BLOCKS = 7


@register_arch(
    'sew_resnet_events',
    **{
        # DVS128 Gesture
        'sew-resnet-7b': dict(embed_dims=[32] * _BLOCKS),
        # CIFAR10-DVS
        'sew-resnet-wide-7b': dict(embed_dims=[64] * 4 + [128] * 3),
    },
)
def sew_resnet_events(embed_dims: Sequence[int]) -> list[dict]:
    """Eight stages: seven of a block with an ADD shortcut, and what is left of its last pool.

    Where the channels change, a 1 x 1 convolution is in front of the block. Total stride 128, so
    that a recording of 128 x 128 ends as one token. The release's neurons learn their time
    constants (``PLIFNeuron``) and have an atan surrogate.

    Args:
        embed_dims (Sequence[int]): Channels of each of the seven blocks.

    Returns:
        list[dict]: The stages.

    Raises:
        ValueError: A value is out of range.
    """
    check_list('embed_dims', embed_dims, check_int, length=_BLOCKS, low=1, high=MAX_CHANNELS)
    block = [dict(type='ConvBranch', name='conv', ratio=1, residual='add')]
    up = dict(type='ConvEmbed', units=[dict(kernel_size=1)])
    pool = dict(pool='before_conv', pool_type='max2')
    stages = [dict(embed=up, block=block, channels=embed_dims[0], depth=1)]
    for before, width in pairwise(embed_dims):
        embed = dict(type='MaxPoolEmbed')
        if width != before:
            embed = dict(type='ConvEmbed', units=[dict(kernel_size=1, **pool)])
        stages.append(dict(embed=embed, block=block, channels=width, depth=1))
    last = dict(embed=dict(type='MaxPoolEmbed'), channels=embed_dims[-1], depth=0)
    return [*stages, last]
