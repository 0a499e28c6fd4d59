"""Spikingformer (arXiv 2304.11954): Spikformer with membrane residuals, and neurons in front."""

from .registry import register_arch
from .spikformer import POOLS, check_grid, sizes_of

SIZES = sizes_of('spikingformer', [(8, 384), (8, 512), (8, 768)])


@register_arch('spikingformer', **SIZES)
def spikingformer(
    depth: int,
    embed_dims: int,
    num_heads: int,
    data: str = 'imagenet',
    mlp_ratio: float = 4,
    pool: str = 'after_neuron',
) -> list[dict]:
    """One stage, its stream a membrane from the tokenizer's first unit to the last block.

    The release's head averages that membrane: ``out='stream'``, and a head without a neuron. Its
    models for events have neurons of tau 1.5.

    Args:
        depth (int): Blocks.
        embed_dims (int): Channels D; the tokenizer has D/8, D/4, D/2, D and D.
        num_heads (int): Heads.
        data (str): ``imagenet`` and ``events`` (total stride 16), or ``cifar`` (stride 4). Defaults
            to ``imagenet``.
        mlp_ratio (float): Hidden channels of the MLP over D. Defaults to 4.
        pool (str): Place of the max-pools, ``after_neuron`` or, with CML, ``before_neuron``: on
            the membrane. Defaults to ``after_neuron``.

    Returns:
        list[dict]: The stage.

    Raises:
        ValueError: A value is out of range.
    """
    check_grid(depth, embed_dims, num_heads, data, mlp_ratio, pool)
    units = [dict(channels=embed_dims // 8, fire='none')]
    for divisor, pools in zip((4, 2, 1, 1), POOLS[data]):
        place = pool if pools else None
        units.append(dict(channels=embed_dims // divisor, fire='first', pool=place))
    return [
        dict(
            embed=dict(type='ConvEmbed', units=units),
            block=dict(
                attention=dict(type='SpikingSelfAttention', num_heads=num_heads, scale=0.125),
                mlp=dict(type='SpikingMLP', ratio=mlp_ratio),
                residual='membrane',
            ),
            channels=embed_dims,
            depth=depth,
        )
    ]
