"""STSA, also STS-Transformer (IJCAI 2023): self attention over space and time, for events."""

from collections.abc import Sequence

from ...checks import check_int, check_list, check_number
from ...layers.conv import MAX_CHANNELS
from .registry import MAX_DEPTH, register_arch


@register_arch('stsa', **{'stsa-2-256': dict(depth=2, embed_dims=256)})
def stsa(
    depth: int,
    embed_dims: int,
    num_heads: int = 1,
    mlp_ratio: float = 1,
    window: Sequence[int] = (10, 8, 8),
    drop: float = 0.3,
) -> list[dict]:
    """One stage: Spikformer's patch splitting, then spatial-temporal self attention and an MLP.

    The release's neurons do not decay their input, fire strictly above the threshold, and have a
    triangular surrogate and a gradient through the reset; an architecture does not choose neurons.

    Args:
        depth (int): Blocks.
        embed_dims (int): Channels D; the patch splitting has D/16, D/8, D/4 and D.
        num_heads (int): Heads. Defaults to 1.
        mlp_ratio (float): Hidden channels of the MLP over D. Defaults to 1.
        window (Sequence[int]): Most steps, rows and columns of tokens, of 16 x 16 pixels. Defaults
            to (10, 8, 8).
        drop (float): Dropout of the MLP's convolutions. Defaults to 0.3.

    Returns:
        list[dict]: The stage.

    Raises:
        ValueError: A value is out of range.
    """
    check_int('depth', depth, 0, MAX_DEPTH)
    check_int('embed_dims', embed_dims, 16, MAX_CHANNELS)
    check_int('num_heads', num_heads, 1)
    check_number('mlp_ratio', mlp_ratio, above=0)
    check_list('window', window, check_int, length=3, low=1)
    check_number('drop', drop, low=0, below=1)
    channels = [embed_dims // divisor for divisor in (16, 8, 4, 1)]
    attention = dict(type='SpatialTemporalSelfAttention', num_heads=num_heads, window=list(window))
    return [
        dict(
            embed=dict(type='SPS', channels=channels, pools=[True] * 4),
            block=dict(
                attention=attention, mlp=dict(type='SpikingMLP', ratio=mlp_ratio, drop=drop)
            ),
            channels=embed_dims,
            depth=depth,
        )
    ]
