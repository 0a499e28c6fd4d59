"""Spike-driven Transformer (NeurIPS 2023, arXiv 2307.01694): masks and sums, membrane shortcuts."""

from collections.abc import Sequence

from ...checks import check_bool, check_int, check_list, check_number
from ...layers.conv import MAX_CHANNELS
from .registry import MAX_DEPTH, register_arch


def _pools(pattern: str) -> list[bool]:
    """The release's notation, a digit for each unit of the patch splitting."""
    return [digit == '1' for digit in pattern]


@register_arch(
    'sdt_v1',
    **{
        # ImageNet
        'sdt-v1-8-384': dict(depth=8, embed_dims=384, pools=_pools('1111')),
        'sdt-v1-6-512': dict(depth=6, embed_dims=512, pools=_pools('1111')),
        'sdt-v1-8-512': dict(depth=8, embed_dims=512, pools=_pools('1111')),
        'sdt-v1-10-512': dict(depth=10, embed_dims=512, pools=_pools('1111')),
        'sdt-v1-8-768': dict(depth=8, embed_dims=768, pools=_pools('1111')),
        # CIFAR
        'sdt-v1-2-512': dict(depth=2, embed_dims=512, pools=_pools('0011')),
        'sdt-v1-2-256': dict(depth=2, embed_dims=256, pools=_pools('0011')),
        # CIFAR10-DVS at 64 x 64
        'sdt-v1-2-256-dvs': dict(depth=2, embed_dims=256, pools=_pools('0011'), dilation_heads=8),
        # DVS128 Gesture
        'sdt-v1-2-256-gesture': dict(depth=2, embed_dims=256, pools=_pools('0111')),
    },
)
def sdt_v1(
    depth: int,
    embed_dims: int,
    pools: Sequence[bool],
    mlp_ratio: float = 4,
    dilation_heads: int | None = None,
) -> list[dict]:
    """One stage: patch splitting, then blocks of spike-driven self attention and an MLP.

    The patch splitting is four units of conv3x3-BN and a neuron, with a pool of spikes where
    ``pools`` says so; the last pools its membrane m, and ``m + BN(conv3x3(SN(m)))`` leaves it.

    Args:
        depth (int): Blocks.
        embed_dims (int): Channels D; the patch splitting has D/8, D/4, D/2 and D.
        pools (Sequence[bool]): Whether each of the four units halves height and width.
        mlp_ratio (float): Hidden channels of the MLP over D. Defaults to 4.
        dilation_heads (int | None): See
            :class:`~mmqkformer.layers.SpikeDrivenSelfAttention`. Defaults to None.

    Returns:
        list[dict]: The stage.

    Raises:
        ValueError: A value is out of range.
    """
    check_int('depth', depth, 0, MAX_DEPTH)
    check_int('embed_dims', embed_dims, 8, MAX_CHANNELS)
    check_list('pools', pools, check_bool, length=4)
    check_number('mlp_ratio', mlp_ratio, above=0)
    if dilation_heads is not None:
        check_int('dilation_heads', dilation_heads, 1)
    *spiking, last = (
        dict(channels=embed_dims // divisor, pool='after_neuron' if pool else None)
        for divisor, pool in zip((8, 4, 2, 1), pools)
    )
    membrane = dict(last, pool='before_neuron' if pools[-1] else None, fire='none')
    embed = dict(
        type='ConvEmbed',
        units=[*spiking, membrane, dict(name='position', fire='first')],
        shortcut='identity',
        shortcut_from=4,
        shortcut_on='membrane',
    )
    attention = dict(type='SpikeDrivenSelfAttention', dilation_heads=dilation_heads)
    block = [
        dict(attention, name='attention', residual='membrane'),
        dict(type='SpikingMLP', name='mlp', ratio=mlp_ratio, residual='membrane'),
    ]
    return [dict(embed=embed, block=block, channels=embed_dims, depth=depth)]
