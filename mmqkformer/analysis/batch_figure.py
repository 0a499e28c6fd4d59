"""Draws what batches do to a network."""

from collections.abc import Sequence

from matplotlib.figure import FigureBase

from .batch_independence import ANY, LEAKY, ORDERS, PER_SAMPLE, BatchRow

_COLOURS = {LEAKY: '#c0392b', PER_SAMPLE: '#1b7f4d'}
# One of the same colour hides another where nothing depends on the order
_STYLES = dict(zip(ORDERS, ('-', '--', ':')))
_MARKERS = dict(zip(ORDERS, ('o', 's', '^')))


def draw_batches(figure: FigureBase, rows: Sequence[BatchRow]) -> None:
    """Draws accuracy and difference of the logits against the images of a batch.

    Args:
        figure (FigureBase): Figure or part of one to draw into.
        rows (Sequence[BatchRow]): Of
            :func:`~mmqkformer.analysis.batch_independence.batch_independence`.
    """
    accuracies, differences = figure.subplots(1, 2)
    for behaviour, colour in _COLOURS.items():
        for order, style in _STYLES.items():
            line = [row for row in rows if row.behaviour == behaviour and row.order in (ANY, order)]
            sizes = [row.batch_size for row in line]
            shown = dict(
                color=colour,
                linestyle=style,
                marker=_MARKERS[order],
                markersize=4,
                label=f'{behaviour}, {order}',
            )
            accuracies.plot(sizes, [row.accuracy for row in line], **shown)
            differences.plot(sizes, [row.mean for row in line], **shown)
    sizes = sorted({row.batch_size for row in rows})
    for axes in (accuracies, differences):
        axes.set_xscale('log', base=2)
        axes.set_xticks(sizes, map(str, sizes))
        axes.set_xlabel('images of a batch')
        axes.grid(alpha=0.25)
    accuracies.set_ylabel('top-1, %')
    differences.set_ylabel('mean |logit - logit alone|')
    figure.legend(
        handles=accuracies.lines, loc='outside lower center', ncols=len(_COLOURS), fontsize='small'
    )
