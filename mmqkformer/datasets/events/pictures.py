"""Pictures of event streams: coloured frames, rates over time, animations."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from ...files import written_whole
from .stream import Events

ON, OFF = '#c0392b', '#2471a3'  # brighter, darker


def polarity_image(frame: np.ndarray, saturation: float | None = None) -> np.ndarray:
    """Colours a frame: white without events, red where it got brighter, blue where darker.

    Args:
        frame (np.ndarray): Counts of OFF and ON events, ``[2, H, W]``.
        saturation (float | None): Count of the full colour. Defaults to the 99th percentile of the
            counts that are not zero.

    Returns:
        np.ndarray: RGB of 0 to 1, ``[H, W, 3]``.
    """
    if saturation is None:
        saturation = saturation_of(frame)
    share = np.clip(frame / saturation, 0, 1)[..., None]
    missing = [1 - np.array(to_rgb(color)) for color in (OFF, ON)]
    return np.clip(1 - share[0] * missing[0] - share[1] * missing[1], 0, 1)


def saturation_of(frames: np.ndarray) -> float:
    """The count that :func:`polarity_image` gives the full colour, the same for all ``frames``."""
    counts = frames[frames > 0]
    return float(np.percentile(counts, 99)) if counts.size else 1.0


def draw_rates(axis: Axes, events: Events, borders: Sequence[float] = (), bins: int = 100) -> None:
    """Draws the rate of ON and OFF events over time.

    Args:
        axis (Axes): Axes to draw into.
        events (Events): The recording.
        borders (Sequence[float]): Microseconds from the first event at which frames begin, drawn
            as lines. Defaults to none.
        bins (int): Number of bins. Defaults to 100.
    """
    time = (events.t.astype(np.int64) - int(events.t[0])) / 1e3
    edges = np.linspace(0, max(time[-1], 1e-3), bins + 1)
    width = edges[1] - edges[0]
    for polarity, color, name in ((1, ON, 'ON'), (0, OFF, 'OFF')):
        counts, _ = np.histogram(time[events.p == polarity], edges)
        axis.step(edges[:-1], counts / width, where='post', color=color, label=name, linewidth=1)
    for border in borders:
        axis.axvline(border / 1e3, color='0.75', linewidth=0.8, zorder=0)
    axis.set_xlim(edges[0], edges[-1])
    axis.set_ylim(bottom=0)
    axis.set_xlabel('time [ms]')
    axis.set_ylabel('events per ms')
    axis.legend(loc='upper right', frameon=False, ncols=2)


def figure_image(figure: Figure) -> Image.Image:
    """The pixels of a figure of the Agg canvas."""
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert('RGB')


def save_animation(images: Sequence[Image.Image], path: str | Path, frame_ms: int) -> None:
    """Writes images as an endless GIF, whole or not at all.

    Args:
        images (Sequence[Image.Image]): Images of one size.
        path (str | Path): File to write.
        frame_ms (int): Milliseconds that each is shown.
    """
    # One palette for all: colours do not flicker
    palette = Image.fromarray(np.concatenate([np.asarray(image) for image in images]))
    palette = palette.quantize(256)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    with written_whole(path) as partial:
        images[0].save(
            partial,
            format='GIF',
            save_all=True,
            append_images=images[1:],
            duration=frame_ms,
            loop=0,
        )
