"""Maps of tokens, translucent over the image."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import FigureBase
from matplotlib.patches import Rectangle

from ..attention import TokenMap
from .panels import draw_scale, label_row, rows_of_panels

# Okabe and Ito's vermilion and blue, told apart with every kind of colour vision, over grey
POSITIVE, NEGATIVE = '#d55e00', '#0072b2'
OPACITY = 0.75
# Greys of black and white pixels: on black itself a faint tint would not be seen
DARKEST, LIGHTEST = 0.25, 0.95


def overlay(image: np.ndarray, values: np.ndarray, full: float, side: int = 112) -> np.ndarray:
    """Lays a map of tokens over an image, which becomes grey.

    Tokens of a positive value are tinted vermilion, of a negative one blue, the more the larger;
    of 0 they stay grey. A token covers its rectangle of pixels, as nothing in between is known.

    Args:
        image (np.ndarray): uint8 ``[H, W, 3]``.
        values (np.ndarray): ``[h, w]``.
        full (float): Absolute value of the strongest tint, above 0.
        side (int): Images whose shorter side has fewer pixels are enlarged by the least whole
            factor with which it has so many. Defaults to 112.

    Returns:
        np.ndarray: uint8, RGB, of the image's size times that factor.
    """
    factor = max(1, -(-side // min(image.shape[:2])))
    image = image.repeat(factor, 0).repeat(factor, 1)
    rows, columns = (
        np.arange(pixels) * tokens // pixels
        for pixels, tokens in zip(image.shape[:2], values.shape, strict=True)
    )
    share = np.clip(values[rows[:, None], columns] / full, -1, 1)[..., None]
    grey = DARKEST + (LIGHTEST - DARKEST) * image.mean(-1, keepdims=True) / 255
    return np.round(255 * _tinted(grey, share)).astype(np.uint8)


def _tinted(grey: np.ndarray | float, share: np.ndarray) -> np.ndarray:
    """Grey of 0 to 1 under tints of -1 to 1, ``[..., 1]``: RGB of 0 to 1, ``[..., 3]``."""
    color = np.where(share < 0, to_rgb(NEGATIVE), to_rgb(POSITIVE))
    weight = OPACITY * np.abs(share)
    return (1 - weight) * grey + weight * color


def full_of(token_map: TokenMap, values: np.ndarray) -> float:
    """Value of the strongest tint: at least 1 of a mask, else the largest of ``values``."""
    largest = float(np.abs(values).max())
    return max(1.0, largest) if token_map.is_mask else largest or 1.0


def overlay_arrays(
    images: np.ndarray, token_map: TokenMap, sample: int = 0, side: int = 112
) -> np.ndarray:
    """A map over the image at every step, the mean of its heads.

    Args:
        images (np.ndarray): The sample, uint8 ``[T or 1, H, W, 3]``, see
            :func:`~mmqkformer.analysis.pictures.input_pictures`.
        token_map (TokenMap): Such as :meth:`~mmqkformer.analysis.Attention.received` returns.
        sample (int): Which of its samples it is. Defaults to 0.
        side (int): See :func:`overlay`. Defaults to 112.

    Returns:
        np.ndarray: uint8 RGB ``[T, height, width, 3]``.
    """
    means = token_map.values[:, sample].mean(1).numpy()
    full = full_of(token_map, means)
    return np.stack(
        [overlay(images[t % len(images)], mean, full, side) for t, mean in enumerate(means)]
    )


def draw_overlays(
    figure: FigureBase,
    images: np.ndarray,
    maps: Mapping[str, TokenMap],
    steps: Sequence[int],
    sample: int = 0,
    frame: tuple[float, float, float, float] | None = None,
) -> None:
    """Draws maps over the image: the input and then each map in a row, a column for each step.

    Of a single step the panels stand as :func:`rows_of_panels` puts them.

    Args:
        figure (FigureBase): Figure or part of one to draw into.
        images (np.ndarray): The sample, uint8 ``[T or 1, H, W, 3]``.
        maps (Mapping[str, TokenMap]): By their titles; the mean of the heads is drawn.
        steps (Sequence[int]): Which steps, from 0.
        sample (int): Which sample of the maps it is. Defaults to 0.
        frame (tuple[float, float, float, float] | None): A rectangle that is framed: row, column,
            height and width as shares of the image. Defaults to None.

    Raises:
        ValueError: There is no map.
    """
    if not maps:
        raise ValueError(f'maps={maps!r}: expected at least one')
    (first, _), *rows = rows_of_panels(figure, 1 + len(maps), len(steps))
    _draw_row(first, 'input', images, steps)
    for (row, bar), (title, token_map) in zip(rows, maps.items()):
        values = token_map.values[:, sample].mean(1).numpy()
        full = full_of(token_map, values)
        _draw_row(row, title, overlay_arrays(images, token_map, sample), steps)
        _draw_tints(bar, -full if values.min() < 0 else 0, full, token_map.unit)
    for row, _ in [(first, None), *rows] if frame is not None else ():
        for axis in row:
            _draw_frame(axis, *frame)
    if len(steps) > 1:
        for axis, t in zip(first, steps):
            axis.set_title(f't = {t + 1}', fontsize=9)


def _draw_row(axes: list[Axes], title: str, images: np.ndarray, steps: Sequence[int]) -> None:
    for axis, t in zip(axes, steps):
        axis.imshow(images[t % len(images)], interpolation='nearest')
    label_row(axes, title)


def _draw_tints(axis: Axes, low: float, high: float, unit: str) -> None:
    """The scale: tints over black and over white pixels."""
    share = np.linspace(low, high, 256)[:, None, None] / high
    draw_scale(axis, _tinted(np.array([[[DARKEST], [LIGHTEST]]]), share), low, high, unit)


def _draw_frame(axis: Axes, row: float, column: float, height: float, width: float) -> None:
    """Black on white, to be seen on both."""
    rows, columns = axis.images[0].get_array().shape[:2]
    corner = (column * columns - 0.5, row * rows - 0.5)
    for color, thickness in (('w', 2.4), ('k', 1.0)):
        line = dict(fill=False, edgecolor=color, linewidth=thickness)
        axis.add_patch(Rectangle(corner, width * columns, height * rows, **line))
