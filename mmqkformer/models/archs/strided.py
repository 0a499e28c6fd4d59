"""Stages that begin with a strided convolution each: what Meta-SpikeFormer and its heirs share."""

from collections.abc import Sequence

from ...checks import check_int, check_list
from ...layers.conv import MAX_CHANNELS
from .registry import MAX_DEPTH


def check_stages(embed_dims: Sequence[int], depths: Sequence[int], stages: int) -> None:
    """Refuses widths and depths that are not one for each stage, or out of range.

    Raises:
        ValueError: They are.
    """
    check_list('embed_dims', embed_dims, check_int, length=stages, low=1, high=MAX_CHANNELS)
    check_list('depths', depths, check_int, length=stages, low=0, high=MAX_DEPTH)


def strided_stages(
    embed_dims: Sequence[int],
    depths: Sequence[int],
    strides: Sequence[int],
    blocks: Sequence[list[dict]],
) -> list[dict]:
    """Stages of membranes behind a convolution: 7 x 7 on the image, then 3 x 3 on spikes.

    Args:
        embed_dims (Sequence[int]): Channels of each stage.
        depths (Sequence[int]): Blocks of each stage.
        strides (Sequence[int]): Stride of each stage.
        blocks (Sequence[list[dict]]): Branches of a block of each stage, with membrane shortcuts.

    Returns:
        list[dict]: The stages.
    """
    first, then = dict(kernel_size=7, fire='none'), dict(fire='first')
    units = [dict(then if i else first, stride=s, bias=True) for i, s in enumerate(strides)]
    return [
        dict(
            embed=dict(type='ConvEmbed', units=[unit]),
            block=[dict(branch, residual='membrane') for branch in block],
            channels=channels,
            depth=depth,
        )
        for unit, block, channels, depth in zip(units, blocks, embed_dims, depths, strict=True)
    ]
