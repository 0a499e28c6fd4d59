"""Draws the firing rates of a network over its depth and its steps."""

from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .rates import GROUPS, FiringRates, LayerRate

COLOURS = dict(
    zip(GROUPS, ('#4c78a8', '#e4572e', '#54a24b', '#b279a2', '#b279a2', '#6b6b6b', '#9d9d9d'))
)
LABELS = dict(branch='other branch (MLP, convolution)', output='output of the backbone')
# Inches
LINE, EDGES = 0.17, 1.6


def figure_of(rates: FiringRates) -> Figure:
    """An empty figure, high enough for all layers.

    Args:
        rates (FiringRates): What is to be drawn.
    """
    steps = min(rates.time_steps, 16)
    return Figure(figsize=(8.5 + 0.2 * steps, EDGES + LINE * len(rates.layers)))


def draw_firing_rates(figure: Figure, rates: FiringRates, title: str) -> None:
    """Draws a bar for each layer, coloured by what it belongs to, and its rate at each step.

    The first layer is at the top. A graded neuron has a tick at the share of its outputs that are
    not 0, which is where the bar of a binary one ends.

    Args:
        figure (Figure): Figure to draw into, such as :func:`figure_of` gives.
        rates (FiringRates): The rates.
        title (str): Title.
    """
    figure.set_layout_engine('constrained')
    figure.suptitle(title, fontsize=10)
    bars, steps = figure.subplots(
        1, 2, sharey=True, width_ratios=[1.6, 1 + 0.1 * min(rates.time_steps, 16)]
    )
    _draw_bars(bars, rates.layers)
    values = np.full((len(rates.layers), rates.time_steps), np.nan)
    for row, layer in zip(values, rates.layers):
        row[: len(layer.rates)] = layer.rates
    drawn = steps.imshow(values, aspect='auto', vmin=0, cmap='magma', interpolation='nearest')
    ticks = np.arange(0, rates.time_steps, -(-rates.time_steps // 16))
    steps.set_xticks(ticks, ticks + 1)
    steps.set_xlabel('time step', fontsize=8)
    steps.tick_params(left=False)
    scale = figure.colorbar(drawn, ax=steps, aspect=40, pad=0.02)
    scale.set_label('spikes per output', fontsize=8)
    scale.ax.tick_params(labelsize=7)
    for axes in (bars, steps):
        axes.tick_params(labelsize=7)
        for border in _borders(rates.layers):
            axes.axhline(border, color='#bbbbbb' if axes is bars else 'white', linewidth=0.8)


def _draw_bars(axes: Axes, layers: list[LayerRate]) -> None:
    places = np.arange(len(layers))
    colours = [COLOURS[layer.group] for layer in layers]
    axes.barh(places, [layer.rate for layer in layers], color=colours, height=0.72)
    graded = [i for i, layer in enumerate(layers) if layer.levels > 1]
    if graded:
        shares = [layers[i].active for i in graded]
        axes.plot(shares, graded, '|', color='black', markersize=6, label='share of outputs not 0')
    axes.set_yticks(places, map(_label, layers))
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel('spikes per output, mean over all steps', fontsize=8)
    axes.grid(axis='x', alpha=0.3)
    groups = [group for group in GROUPS if any(layer.group == group for layer in layers)]
    patches = [Patch(color=COLOURS[group], label=LABELS.get(group, group)) for group in groups]
    ticks = axes.get_legend_handles_labels()[0]
    legend = dict(fontsize=7, frameon=False, loc='outside lower center')
    axes.figure.legend(handles=patches + ticks, ncols=len(patches + ticks), **legend)


def _label(layer: LayerRate) -> str:
    if layer.stage is None:
        return layer.role
    block = '' if layer.block is None else f'.{layer.block}'
    return f'{layer.stage}{block} {layer.role}'


def _borders(layers: list[LayerRate]) -> list[float]:
    """Where a stage ends and another begins."""
    lengths = [len(list(same)) for _, same in groupby(layers, key=lambda layer: layer.stage)]
    return [end - 0.5 for end in np.cumsum(lengths)[:-1]]
