"""Spikformer (ICLR 2023, arXiv 2209.15425): straight spiking self attention on one grid."""

from collections.abc import Sequence

from ...checks import check_int, check_number, check_str
from ...layers.conv import MAX_CHANNELS
from .registry import MAX_DEPTH, register_arch

# Which of the four halving units pool, by the code base of the release. These differ, too, in the
# attention's factor, and for CIFAR in linear layers with biases, from a truncated normal
POOLS = {'imagenet': [True] * 4, 'cifar': [False, False, True, True], 'events': [True] * 4}
_LINEAR = dict(type='TruncNormal', layer='Conv2d', std=0.02, bias=0.0)


def sizes_of(family: str, imagenet: Sequence[tuple[int, int]]) -> dict[str, dict]:
    """Arguments of the sizes of a family with one grid, by their names.

    Args:
        family (str): What the names begin with.
        imagenet (Sequence[tuple[int, int]]): Depth and channels of the sizes for ImageNet; those
            for CIFAR and events are the same in all families.

    Returns:
        dict[str, dict]: For ``register_arch``.
    """
    sizes = {(depth, dims): dict(num_heads=8) for depth, dims in imagenet}
    for depth, dims in ((4, 256), (2, 384), (4, 384)):
        sizes[depth, dims] = dict(num_heads=12 if dims == 384 else 8, data='cifar')
    sizes[2, 256] = dict(num_heads=16, data='events')
    return {
        f'{family}-{depth}-{dims}': dict(depth=depth, embed_dims=dims, **size)
        for (depth, dims), size in sizes.items()
    }


def check_grid(
    depth: int, embed_dims: int, num_heads: int, data: str, mlp_ratio: float, pool: str
) -> None:
    """Checks what a network with one grid is made of, see :func:`spikformer`.

    Raises:
        ValueError: A value is out of range.
    """
    check_int('depth', depth, 0, MAX_DEPTH)
    check_int('embed_dims', embed_dims, 8, MAX_CHANNELS)
    check_int('num_heads', num_heads, 1)
    check_number('mlp_ratio', mlp_ratio, above=0)
    check_str('data', data, tuple(POOLS))
    check_str('pool', pool, ('after_neuron', 'before_neuron'))


SIZES = sizes_of('spikformer', [(8, 384), (6, 512), (8, 512), (10, 512), (8, 768)])


@register_arch('spikformer', **SIZES)
def spikformer(
    depth: int,
    embed_dims: int,
    num_heads: int,
    data: str = 'imagenet',
    mlp_ratio: float = 4,
    pool: str = 'after_neuron',
) -> list[dict]:
    """One stage: spiking patch splitting, then blocks of spiking self attention and an MLP.

    Args:
        depth (int): Blocks.
        embed_dims (int): Channels D; the patch splitting has D/8, D/4, D/2 and D.
        num_heads (int): Heads.
        data (str): ``imagenet`` and ``events`` (total stride 16), or ``cifar`` (stride 4; q, k and
            v with a bias); events scale the attention by 0.25, the others by 0.125. Defaults to
            ``imagenet``.
        mlp_ratio (float): Hidden channels of the MLP over D. Defaults to 4.
        pool (str): Place of the max-pools, ``after_neuron`` or, with CML, ``before_neuron``.
            Defaults to ``after_neuron``.

    Returns:
        list[dict]: The stage.

    Raises:
        ValueError: A value is out of range.
    """
    check_grid(depth, embed_dims, num_heads, data, mlp_ratio, pool)
    init = dict(init_cfg=_LINEAR) if data == 'cifar' else {}
    attention = dict(
        type='SpikingSelfAttention',
        num_heads=num_heads,
        scale=0.25 if data == 'events' else 0.125,
        qkv_bias=data == 'cifar',
        **init,
    )
    channels = [embed_dims // divisor for divisor in (8, 4, 2, 1)]
    return [
        dict(
            embed=dict(type='SPS', channels=channels, pools=POOLS[data], pool=pool),
            block=dict(attention=attention, mlp=dict(type='SpikingMLP', ratio=mlp_ratio, **init)),
            channels=embed_dims,
            depth=depth,
        )
    ]
