"""Rows of panels of one size, each with a scale at its end."""

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

ACROSS = 4  # panels in a row, where each row would have one
_BAR = 0.12  # width of a scale over that of a panel


def rows_of_panels(figure: FigureBase, rows: int, columns: int) -> list[tuple[list[Axes], Axes]]:
    """Makes axes without ticks: of each row its panels, and that of its scale.

    Rows of a single panel stand beside each other, at most four.

    Args:
        figure (FigureBase): Figure or part of one.
        rows (int): Number of rows.
        columns (int): Panels in each.
    """
    down, across = _grid(rows, columns)
    groups = across if columns == 1 else 1
    ratios = ([1] * (across // groups) + [_BAR]) * groups
    axes = figure.subplots(down, len(ratios), squeeze=False, width_ratios=ratios)
    for axis in axes.flat:
        axis.set_axis_off()
    return [(list(row[:-1]), row[-1]) for row in axes.reshape(-1, columns + 1)[:rows]]


def size_of_panels(rows: int, columns: int) -> tuple[float, float]:
    """Inches that :func:`rows_of_panels` needs, with a title above."""
    down, across = _grid(rows, columns)
    return 1.6 * across + (1.2 if columns > 1 else 0.9 * across), 1.65 * down + 0.7


def _grid(rows: int, columns: int) -> tuple[int, int]:
    """Panels on top of each other and side by side."""
    return (rows, columns) if columns > 1 else (-(-rows // ACROSS), min(ACROSS, rows))


def label_row(axes: list[Axes], title: str) -> None:
    """Writes a row's title: beside its panels, or above a single one."""
    if len(axes) == 1:
        axes[0].set_title(title, fontsize=8)
        return
    at = dict(transform=axes[0].transAxes, rotation=90, ha='right', va='center')
    axes[0].text(-0.06, 0.5, title, fontsize=8, multialignment='center', **at)


def draw_scale(axis: Axes, colors: np.ndarray, low: float, high: float, unit: str) -> None:
    """Draws a scale.

    Args:
        axis (Axes): Axes to draw into.
        colors (np.ndarray): RGB from the lowest to the highest value, ``[n, m, 3]``.
        low (float): Lowest value.
        high (float): Highest value.
        unit (str): What a value is.
    """
    axis.set_axis_on()
    axis.imshow(
        colors, aspect='auto', origin='lower', extent=(0, 1, low, high), interpolation='nearest'
    )
    axis.set_xticks([])
    axis.yaxis.tick_right()
    axis.yaxis.set_label_position('right')
    axis.set_ylabel(fill(unit, 20), fontsize=7)
    axis.tick_params(labelsize=7)
