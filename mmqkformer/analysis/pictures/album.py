"""The kinds of pictures that there are of a network and one image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure

from ..attention import Attention
from ..feature_maps import Raster, StageMap
from .maps import (
    draw_channel_mask,
    draw_stage_maps,
    draw_token_attention,
    size_of_token_attention,
)
from .overlays import draw_overlays
from .panels import size_of_panels
from .rasters import draw_raster

Draw = Callable[[Figure, Sequence[int]], None]
Size = Callable[[int], tuple[float, float]]


@dataclass
class Picture:
    """A picture that is still to be drawn.

    Attributes:
        name (str): Of its file, without a suffix.
        title (str): What it shows.
        draw (Callable): Draws given time steps, from 0, into a figure.
        size (Callable): Inches that so many time steps need.
        is_still (bool): Whether it shows all steps, whichever are given.
    """

    name: str
    title: str
    draw: Draw
    size: Size
    is_still: bool = False


def overlay_picture(images: np.ndarray, attentions: Mapping[str, Attention]) -> Picture:
    """All attentions over the image, see :func:`draw_overlays`.

    Args:
        images (np.ndarray): The sample, uint8 ``[T or 1, H, W, 3]``.
        attentions (Mapping[str, Attention]): By name.
    """
    maps = {f'{_short(name)}\n{a.kind}': a.received() for name, a in attentions.items()}
    return Picture(
        'overlay',
        'what each attention lets pass or looks at, over the input',
        lambda figure, steps: draw_overlays(figure, images, maps, steps),
        lambda steps: size_of_panels(1 + len(maps), steps),
    )


def heads_picture(images: np.ndarray, name: str, attention: Attention) -> Picture | None:
    """Each head of an attention over the image; None where its map has none."""
    if attention.over == 'channels':
        return None
    received = attention.received()
    heads = received.values.split(1, dim=2)
    unit = received.unit.split(', mean of the heads')[0]
    maps = {f'head {i}': replace(received, values=x, unit=unit) for i, x in enumerate(heads)}
    return Picture(
        f'heads_{name}',
        f'{name}, {attention.kind}: each head',
        lambda figure, steps: draw_overlays(figure, images, maps, steps),
        lambda steps: size_of_panels(1 + len(maps), steps),
    )


def qk_picture(name: str, attention: Attention, head: int = 0) -> Picture | None:
    """Figure 3 of the paper; None where the attention masks no tokens.

    Args:
        name (str): Name of the attention.
        attention (Attention): The attention.
        head (int): Which head. Defaults to 0.

    Raises:
        ValueError: There is no such head.
    """
    if attention.over != 'tokens':
        return None
    arrays = attention.of_head(head)
    return Picture(
        f'qk_{name}',
        f'{name}, {attention.kind}, head {head}: white is 1, black is 0',
        lambda figure, steps: draw_token_attention(figure, *arrays, steps),
        size_of_token_attention,
    )


def query_picture(
    images: np.ndarray, name: str, attention: Attention, pixel: Sequence[int] | None = None
) -> Picture | None:
    """Where one query looks and where all do; None where the attention has no queries.

    Args:
        images (np.ndarray): The sample, uint8 ``[T or 1, H, W, 3]``.
        name (str): Name of the attention.
        attention (Attention): The attention.
        pixel (Sequence[int] | None): Row and column in the image of the token that asks. Defaults
            to None, the middle.

    Raises:
        ValueError: The pixel is not in the image.
    """
    if not attention.has_queries:
        return None
    height, width = images.shape[1:3]
    y, x = (height // 2, width // 2) if pixel is None else pixel
    if y >= height or x >= width:
        raise ValueError(f'query {y} {x}: expected a pixel of the {height} x {width} of the input')
    rows, columns = attention.out.shape[-2:]
    row, column = y * rows // height, x * columns // width
    maps = {
        f'query of token\n({row}, {column})': attention.asked_by(row, column),
        'all queries': attention.received(),
    }
    frame = (row / rows, column / columns, 1 / rows, 1 / columns)
    return Picture(
        f'query_{name}',
        f'{name}, {attention.kind}: the token that asks is framed',
        lambda figure, steps: draw_overlays(figure, images, maps, steps, frame=frame),
        lambda steps: size_of_panels(1 + len(maps), steps),
    )


def channels_picture(name: str, attention: Attention) -> Picture | None:
    """The mask of channels; None where the attention masks none."""
    if attention.over != 'channels':
        return None
    return Picture(
        f'channels_{name}',
        f'{name}, {attention.kind}',
        lambda figure, steps: draw_channel_mask(figure, attention),
        lambda steps: (8, 1.5 + 0.25 * attention.map.size(0)),
        is_still=True,
    )


def stages_picture(images: np.ndarray, stages: Mapping[str, StageMap]) -> Picture:
    """Feature maps of all stages.

    Args:
        images (np.ndarray): The sample, uint8 ``[T or 1, H, W, 3]``.
        stages (Mapping[str, StageMap]): By name.
    """
    return Picture(
        'stages',
        'what each stage hands on, mean of its channels',
        lambda figure, steps: draw_stage_maps(figure, images, stages, steps),
        lambda steps: size_of_panels(1 + len(stages), steps + 1),
    )


def raster_picture(name: str, raster: Raster) -> Picture:
    """Spikes of a layer over time."""
    return Picture(
        f'raster_{name}',
        name,
        lambda figure, steps: draw_raster(figure, raster),
        lambda steps: (4 + 0.1 * raster.spikes.size(0), 5),
        is_still=True,
    )


def _short(name: str) -> str:
    """Name of an attention as a row's title."""
    return name.replace('.blocks.', '.').removesuffix('.attention')
