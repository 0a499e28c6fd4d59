"""Spikes of neurons over time."""

from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from ..feature_maps import Raster


def draw_raster(figure: FigureBase, raster: Raster) -> None:
    """Draws the spikes of neurons at each step, and above them the rate of the layer.

    Args:
        figure (FigureBase): Figure or part of one to draw into.
        raster (Raster): The spikes.
    """
    time_steps, shown = raster.spikes.shape
    graded = raster.levels > 1
    top, bottom = figure.subplots(2, 1, height_ratios=[1, 4], sharex=True)
    steps = range(1, time_steps + 1)
    top.bar(steps, raster.rate, width=0.8, color='#56b4e9')
    top.set_ylim(bottom=0)
    top.set_ylabel('spikes per\nneuron', fontsize=8)
    which = 'all' if shown == raster.neurons else f'{shown} of'
    spaced = '' if shown == raster.neurons else ', evenly spaced'
    top.set_title(f'{which} {raster.neurons:,} neurons{spaced}', fontsize=8)
    drawn = bottom.imshow(
        raster.spikes.T,
        cmap='viridis' if graded else 'gray_r',
        vmin=0,
        vmax=raster.levels,
        aspect='auto',
        interpolation='nearest',
        extent=(0.5, time_steps + 0.5, shown, 0),
    )
    bottom.set_xlabel('time step', fontsize=8)
    bottom.set_ylabel('neuron shown' + ('' if graded else '   (black: a spike)'), fontsize=8)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    if graded:
        bar = figure.colorbar(drawn, ax=bottom)
        bar.set_label('spikes', fontsize=8)
    for axis in (top, bottom):
        axis.tick_params(labelsize=7)
