"""Masks, keys and feature maps as heat maps."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ..attention import Attention
from ..feature_maps import StageMap
from .panels import draw_scale, label_row, rows_of_panels

_ACROSS = 4  # time steps side by side
_STREAMS = dict(spikes='spikes', sums='sums of spikes', membrane='membrane potential')


def draw_token_attention(
    figure: FigureBase,
    mask: Tensor,
    key: Tensor,
    out: Tensor,
    steps: Sequence[int],
    tokens: int = 100,
) -> None:
    """Draws Q-K token attention as Figure 3 of the paper does: A_t, K, and X' = A_t (x) K.

    Tokens stand on the horizontal axis, the channels of one head on the vertical one; white is 1
    and black 0. A column for each step. The arrays are those of
    :meth:`~mmqkformer.analysis.Attention.of_head`.

    Args:
        figure (FigureBase): Figure or part of one to draw into.
        mask (Tensor): A_t, ``[T, 1, N]``.
        key (Tensor): K, ``[T, d, N]``.
        out (Tensor): X', ``[T, d, N]``.
        steps (Sequence[int]): Which steps, from 0.
        tokens (int): Most tokens that are shown; of more a segment in the middle is. Defaults to
            100, as in the paper.
    """
    total = mask.size(-1)
    first = max(0, (total - tokens) // 2)
    last = min(total, first + tokens)
    brightest = max(1.0, float(key.max()), float(out.max()))
    parts = (('$A_t$', mask), ('$K$\nchannel', key), ("$X' = A_t \\otimes K$\nchannel", out))
    ratios = [max(1, key.size(1) // 12), key.size(1), key.size(1)]
    groups = [steps[i : i + _ACROSS] for i in range(0, len(steps), _ACROSS)]
    axes = figure.subplots(
        3 * len(groups),
        min(_ACROSS, len(steps)),
        squeeze=False,
        sharex=True,
        height_ratios=ratios * len(groups),
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for group, rows in zip(groups, axes.reshape(len(groups), 3, -1)):
        for row, (name, values) in zip(rows, parts):
            row[0].set_ylabel(name, fontsize=9)
            for axis, t in zip(row, group):
                _heat(axis, values[t, :, first:last], brightest, first)
                now = f't = {t + 1}:  ' if values is mask else ''
                axis.set_title(f'{now}mean {float(values[t].mean()):.3f}', fontsize=8)
                if values is mask or axis is not row[0]:
                    axis.set_yticks([])
        for axis in rows[-1]:
            axis.set_xlabel(f'token ({first} to {last - 1}; means of all {total:,})', fontsize=8)


def draw_channel_mask(figure: FigureBase, attention: Attention, sample: int = 0) -> None:
    """Draws which channels an attention lets pass at which step, and the share of them.

    Args:
        figure (FigureBase): Figure or part of one to draw into.
        attention (Attention): One that masks channels.
        sample (int): Which sample of the batch. Defaults to 0.

    Raises:
        ValueError: The attention masks no channels.
    """
    if attention.over != 'channels':
        raise ValueError(f'{attention.kind}: expected an attention with a mask of channels')
    mask = attention.map[:, sample].flatten(1)  # [T, C]
    time_steps, channels = mask.shape
    left, right = figure.subplots(1, 2, width_ratios=[5, 1], sharey=True)
    left.imshow(
        mask,
        cmap='gray',
        vmin=0,
        vmax=max(1.0, float(mask.max())),
        aspect='auto',
        interpolation='nearest',
        extent=(0, channels, time_steps + 0.5, 0.5),
    )
    left.set_title('mask of channels: white passes', fontsize=9)
    left.set_xlabel('channel', fontsize=8)
    left.set_ylabel('time step', fontsize=8)
    left.set_yticks(range(1, time_steps + 1))
    right.barh(range(1, time_steps + 1), mask.mean(1), color='#56b4e9')
    right.set_xlim(0, max(1.0, float(mask.max())))
    right.xaxis.set_major_locator(MaxNLocator(2))
    right.set_xlabel('mean of the mask', fontsize=8)
    for axis in (left, right):
        axis.tick_params(labelsize=7)


def draw_stage_maps(
    figure: FigureBase,
    images: np.ndarray,
    stages: Mapping[str, StageMap],
    steps: Sequence[int],
    sample: int = 0,
) -> None:
    """Draws the mean over the channels of what stages hand on: each step, and the mean of all.

    Args:
        figure (FigureBase): Figure or part of one to draw into.
        images (np.ndarray): The sample, uint8 ``[T or 1, H, W, 3]``.
        stages (Mapping[str, StageMap]): By name.
        steps (Sequence[int]): Which steps, from 0.
        sample (int): Which sample of the batch. Defaults to 0.
    """
    (first, _), *rows = rows_of_panels(figure, 1 + len(stages), len(steps) + 1)
    for axis, t in zip(first, steps):
        axis.imshow(images[t % len(images)], interpolation='nearest')
        axis.set_title(f't = {t + 1}', fontsize=9)
    first[-1].imshow(images.mean(0).astype(np.uint8), interpolation='nearest')
    first[-1].set_title('mean over time', fontsize=9)
    label_row(first, 'input')
    for (row, bar), (name, stage) in zip(rows, stages.items()):
        means = stage.mean[:, sample]
        low, high = min(0.0, float(means.min())), float(means.max())
        high = high if high > low else low + 1
        for axis, shown in zip(row, [*means[list(steps)], means.mean(0)]):
            axis.imshow(shown, vmin=low, vmax=high, cmap='viridis')
            axis.set_title(f'mean {float(shown.mean()):.3f}', fontsize=7, pad=2)
        label_row(row, name)
        colors = colormaps['viridis'](np.linspace(0, 1, 256))[:, None, :3]
        draw_scale(bar, colors, low, high, f'{_STREAMS[stage.stream]} per channel')


def size_of_token_attention(steps: int) -> tuple[float, float]:
    """Inches that :func:`draw_token_attention` needs for so many steps."""
    return 3.2 * min(_ACROSS, steps) + 0.8, 4.2 * -(-steps // _ACROSS) + 0.8


def _heat(axis: Axes, values: Tensor, brightest: float, first: int) -> None:
    axis.set_axis_on()
    rows, columns = values.shape
    axis.imshow(
        values,
        cmap='gray',
        vmin=0,
        vmax=brightest,
        aspect='auto',
        interpolation='nearest',
        extent=(first - 0.5, first + columns - 0.5, rows - 0.5, -0.5),
    )
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.tick_params(labelsize=7)
