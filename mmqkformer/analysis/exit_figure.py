"""Draws what an early exit leads to."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .early_exit import EarlyExit

EARLY, ALL_STOP, WHOLE = '#1f77b4', '#888888', '#c0392b'


def draw_early_exit(figure: Figure, result: EarlyExit, name: str, note: str = '') -> None:
    """Draws accuracy against steps, operations and time, and the steps at which samples stop.

    Args:
        figure (Figure): Figure to draw into.
        result (EarlyExit): A sweep, with costs.
        name (str): Of the model.
        note (str): What has to be known beside, such as that weights are random. Defaults to none.

    Raises:
        ValueError: There are no costs.
    """
    if result.costs is None:
        raise ValueError('costs=None: expected those of a sweep with costs')
    costs, points = result.costs, result.points
    title = f'{name}: early exit by {result.rule}, {result.samples:,} samples'
    figure.suptitle(f'{title}\n{note}' if note else title, fontsize=11, wrap=True)
    (steps, exits), (products, times) = figure.subplots(2, 2)
    fixed = range(1, len(result.accuracies) + 1)
    counts = [a + m for a, m in zip(costs.accumulates, costs.multiply_accumulates)]

    _draw_curve(steps, fixed, result, ALL_STOP, 'all stop after t steps', 's--')
    _draw_exits(steps, [point.mean_steps for point in points], result)
    steps.set(xlabel='steps a sample, mean', xlim=(0.8, len(fixed) + 0.2))
    steps.xaxis.set_major_locator(MaxNLocator(integer=True))

    _draw_curve(products, [n / 1e6 for n in counts], result, ALL_STOP, 'all stop after t', 's--')
    _draw_exits(products, [point.operations / 1e6 for point in points], result)
    products.set(xlabel='million operations a sample, mean (dense products)', xlim=(0, None))

    _draw_curve(times, costs.whole, result, WHOLE, 'all: one run of t steps', 'd:')
    _draw_curve(times, costs.stepwise, result, ALL_STOP, 'all: t steps one by one', 's--')
    _draw_exits(times, [point.milliseconds for point in points], result)
    times.set(xlabel=f'ms a sample, batch of one on {costs.device}', xlim=(0, None))
    for axes in (steps, products, times):
        axes.set_ylabel('accuracy, %')
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc='lower right')
    _draw_histograms(exits, result)


def _draw_curve(
    axes: Axes, x: Sequence[float], result: EarlyExit, colour: str, label: str, style: str
) -> None:
    axes.plot(x, result.accuracies, style, color=colour, label=label, markersize=4, linewidth=1)


def _draw_exits(axes: Axes, x: Sequence[float], result: EarlyExit) -> None:
    accuracies = [point.accuracy for point in result.points]
    axes.plot(x, accuracies, 'o-', color=EARLY, label='early exit', markersize=5)


def _draw_histograms(axes: Axes, result: EarlyExit) -> None:
    """A bar for each threshold, of the shares that stop after each step."""
    shares = np.array([point.exits for point in result.points]).T / result.samples * 100
    names = [f'{point.threshold:g}' for point in result.points]
    below = np.zeros(len(names))
    for t, share in enumerate(shares):
        # Later steps are darker
        colour = (*(1 - (t + 1) / len(shares) * (1 - np.array([0.03, 0.19, 0.42]))),)
        axes.bar(names, share, bottom=below, color=colour, label=f't = {t + 1}', width=0.8)
        below += share
    axes.set(xlabel=f'threshold of {result.rule}', ylabel='samples, %', ylim=(0, 100))
    axes.tick_params(axis='x', labelsize=8)
    axes.legend(fontsize=7, loc='center left', bbox_to_anchor=(1.0, 0.5), title='stop after')
