"""SpikingResformer (CVPR 2024, arXiv 2403.14302): a ResNet's stages of dual spike attention."""

from collections.abc import Sequence

from ...checks import check_int, check_list, check_number, check_str
from ...layers.conv import MAX_CHANNELS
from .registry import MAX_DEPTH, register_arch

_STAGES = 3
# The first embedding, which fires nowhere
_PROLOGUES = {
    'imagenet': dict(kernel_size=7, stride=2, pool='before_neuron', fire='none'),
    'small': dict(fire='none'),
}
_TINY = dict(embed_dims=[64, 192, 384], num_heads=[1, 3, 6])


@register_arch(
    'spikingresformer',
    **{
        'spikingresformer-ti': dict(_TINY),
        'spikingresformer-s': dict(embed_dims=[64, 256, 512], num_heads=[1, 4, 8]),
        'spikingresformer-m': dict(embed_dims=[64, 384, 768], num_heads=[1, 6, 12]),
        'spikingresformer-l': dict(embed_dims=[128, 512, 1024], num_heads=[2, 8, 16]),
        # CIFAR, and CIFAR10-DVS at 64 x 64
        'spikingresformer-cifar': dict(_TINY, data='small'),
        # DVS128 Gesture at 64 x 64
        'spikingresformer-gesture': dict(
            embed_dims=[32, 96, 192], num_heads=[1, 3, 6], group_size=32, data='small'
        ),
    },
)
def spikingresformer(
    embed_dims: Sequence[int],
    num_heads: Sequence[int],
    depths: Sequence[int] = (1, 2, 3),
    patch_sizes: Sequence[int] = (4, 2, 1),
    mlp_ratio: float = 4,
    group_size: int = 64,
    data: str = 'imagenet',
) -> list[dict]:
    """Three stages of dual spike self attention and a group-wise feed-forward network.

    The stream is a membrane from the prologue on, which has no neuron, and the release's head
    averages it: ``out='stream'``, and a head without a neuron or bias. Its neurons have an atan
    surrogate; those of the gesture model learn their time constants.

    Args:
        embed_dims (Sequence[int]): Channels of each stage.
        num_heads (Sequence[int]): Heads of each stage.
        depths (Sequence[int]): Blocks of each stage. Defaults to (1, 2, 3).
        patch_sizes (Sequence[int]): Side of the attention's patches of each stage. Defaults to
            (4, 2, 1).
        mlp_ratio (float): Hidden channels of the feed-forward network over the stage's. Defaults
            to 4.
        group_size (int): Channels of a group of its 3 x 3 convolution. Defaults to 64.
        data (str): ``imagenet`` (strides 4, 8 and 16), or ``small`` (1, 2 and 4). Defaults to
            ``imagenet``.

    Returns:
        list[dict]: The stages.

    Raises:
        ValueError: A value is out of range.
    """
    check_list('embed_dims', embed_dims, check_int, length=_STAGES, low=1, high=MAX_CHANNELS)
    check_list('num_heads', num_heads, check_int, length=_STAGES, low=1)
    check_list('depths', depths, check_int, length=_STAGES, low=0, high=MAX_DEPTH)
    check_list('patch_sizes', patch_sizes, check_int, length=_STAGES, low=1)
    check_number('mlp_ratio', mlp_ratio, above=0)
    check_int('group_size', group_size, 1)
    check_str('data', data, tuple(_PROLOGUES))
    units = [_PROLOGUES[data]] + [dict(stride=2, fire='first')] * (_STAGES - 1)
    ffn = dict(type='GWFFN', name='mlp', ratio=mlp_ratio, group_size=group_size)
    return [
        dict(
            embed=dict(type='ConvEmbed', units=[units[i]]),
            block=[
                dict(
                    type='DSSA',
                    name='attention',
                    num_heads=num_heads[i],
                    patch_size=patch_sizes[i],
                    residual='membrane',
                ),
                dict(ffn, residual='membrane'),
            ],
            channels=embed_dims[i],
            depth=depths[i],
        )
        for i in range(_STAGES)
    ]
