"""Draws the curves of a training over those of its reference."""

from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from .comparison import Comparison

# Quantities of a panel; the first of them that was compared has the panel of differences
_PANELS = {
    'learning rate': ('lr',),
    'loss': ('train_loss', 'val_loss'),
    'accuracy, %': ('top1', 'top5', 'top1_ema'),
}
_COLOURS = ('#1f77b4', '#d95f02', '#7570b3')
_LABELS = {
    'lr': 'learning rate',
    'train_loss': 'training',
    'val_loss': 'validation',
    'top1': 'top-1',
    'top5': 'top-5',
    'top1_ema': 'top-1 of the average',
}


def draw_comparison(figure: FigureBase, comparison: Comparison) -> None:
    """Draws learning rate, losses and accuracies, and below them run minus reference.

    The reference is dashed. In the lower row a band is the tolerance of the panel's first quantity;
    a vertical line is the epoch of a departure. A panel without values is left out.

    Args:
        figure (FigureBase): Figure or part of one to draw into.
        comparison (Comparison): What to draw.
    """
    values = (comparison.run.values, comparison.reference.values)
    panels = {
        title: [name for name in names if any(name in of for of in values)]
        for title, names in _PANELS.items()
    }
    panels = {title: names for title, names in panels.items() if names}
    axes = figure.subplots(2, len(panels), squeeze=False, sharex=True, height_ratios=[3, 2])
    for (above, below), (title, names) in zip(axes.T, panels.items()):
        _draw_curves(above, comparison, names)
        above.set_title(title)
        _draw_differences(below, comparison, names)
        below.set_xlabel('epoch')
    figure.suptitle(f'{comparison.run.name} against {comparison.reference.name} (dashed)')


def _draw_curves(axes: Axes, comparison: Comparison, names: list[str]) -> None:
    for name, colour in zip(names, _COLOURS):
        run = comparison.run.values.get(name, {})
        reference = comparison.reference.values.get(name, {})
        axes.plot(list(reference), list(reference.values()), '--', color=colour, alpha=0.55)
        label = _LABELS[name] if run else f'{_LABELS[name]}, reference only'
        axes.plot(list(run), list(run.values()), color=colour, label=label)
    for compared in comparison.compared:
        if compared.quantity in names and compared.departure is not None:
            colour = _COLOURS[names.index(compared.quantity)]
            axes.axvline(compared.departure.epoch, color=colour, linewidth=0.8, linestyle=':')
    axes.legend(fontsize='small')
    axes.grid(alpha=0.25)


def _draw_differences(axes: Axes, comparison: Comparison, names: list[str]) -> None:
    found = [compared for compared in comparison.compared if compared.quantity in names]
    axes.grid(alpha=0.25)
    if not found:
        axes.text(0.5, 0.5, 'not in both', ha='center', transform=axes.transAxes)
        return
    for compared in found:
        colour = _COLOURS[names.index(compared.quantity)]
        epochs = [difference.epoch for difference in compared.differences]
        axes.plot(epochs, [d.value for d in compared.differences], color=colour, marker='.')
        if compared.departure is not None:
            axes.axvline(compared.departure.epoch, color=colour, linewidth=0.8, linestyle=':')
    first = found[0]
    tolerances = [difference.tolerance for difference in first.differences]
    axes.fill_between(
        [difference.epoch for difference in first.differences],
        [-tolerance for tolerance in tolerances],
        tolerances,
        color=_COLOURS[names.index(first.quantity)],
        alpha=0.15,
        linewidth=0,
    )
    axes.set_ylabel('run - reference')
