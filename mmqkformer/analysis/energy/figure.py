"""Pictures of the energy of a network."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from .estimate import EnergyEstimate, EnergyModel
from .spikingjelly import OtherEstimate
from .synops import KINDS, Work

COLOURS = dict(binary='#2a7f62', integer='#e0a030', analogue='#c0392b')
MEANINGS = dict(
    binary='additions of binary spikes',
    integer='additions of numbers of spikes',
    analogue='multiplications and additions',
)
_SNN, _ANN, _OTHER = '#34495e', '#95a5a6', '#7f6aa8'
_UNITS = (('nJ', 1e3), ('µJ', 1e6), ('mJ', 1e9))
# Rows that a page holds
_MOST_ROWS = 48


def in_joules(energy_mj: float) -> str:
    """An energy in mJ as text, in a unit that suits it."""
    for unit, factor in (('J', 1e-3), ('mJ', 1.0), ('µJ', 1e3), ('nJ', 1e6)):
        if energy_mj * factor >= 1:
            return f'{energy_mj * factor:.3g} {unit}'
    return f'{energy_mj * 1e9:.3g} pJ'


def layer_rows(work: Work, model: EnergyModel) -> dict[str, dict[str, float]]:
    """Energy in pJ by kind, by layer; by branch or block of a network of many layers.

    Args:
        work (Work): What :func:`measure_work` tells of a network.
        model (EnergyModel): The model.
    """
    names = [layer.name.removesuffix('.conv') or '(the model)' for layer in work.layers]
    for depth in (None, 2, 1, 0):
        rows: dict[str, dict[str, float]] = {}
        for name, layer in zip(names, work.layers):
            row = rows.setdefault(_shortened(name, depth), dict.fromkeys(KINDS, 0.0))
            row[layer.kind] += model.layer_pj(layer)
        if len(rows) <= _MOST_ROWS:
            break
    return rows


def _shortened(name: str, depth: int | None) -> str:
    """A name without what all share; with so many parts behind the number of a block or stage."""
    name = name.removeprefix('backbone.')
    if depth is None or '.' not in name:
        return name
    parts = name.split(' (')[0].split('.')
    last = max((i for i, part in enumerate(parts[:4]) if part.isdigit()), default=0)
    return '.'.join(parts[: last + 1 + depth])


def draw_energy(
    figure: FigureBase,
    work: Work,
    estimates: Sequence[EnergyEstimate],
    others: Sequence[OtherEstimate] = (),
) -> None:
    """Draws the energy by layer, the share of each kind, and the models beside the ANN.

    Args:
        figure (FigureBase): Figure or part of one to draw into.
        work (Work): What :func:`measure_work` tells of a network.
        estimates (Sequence[EnergyEstimate]): Its energy under models; the layers' is the first's.
        others (Sequence[OtherEstimate]): SpikingJelly's estimates. Defaults to none.
    """
    left, right = figure.subfigures(1, 2, width_ratios=[1.25, 1])
    draw_layers(left.subplots(), layer_rows(work, estimates[0].model), estimates[0].model)
    shares, models = right.subplots(2, 1, height_ratios=[1, 2.6])
    draw_shares(shares, work, estimates[0].model)
    draw_models(models, estimates, others)


def figure_height(work: Work, model: EnergyModel) -> float:
    """Inches that :func:`draw_energy` needs."""
    return max(5.5, 1.4 + 0.19 * len(layer_rows(work, model)))


def draw_layers(axes: Axes, rows: dict[str, dict[str, float]], model: EnergyModel) -> None:
    """Draws the energy by layer.

    Args:
        axes (Axes): Where to draw.
        rows (dict[str, dict[str, float]]): Energies, see :func:`layer_rows`.
        model (EnergyModel): The model that they are of.
    """
    positions = range(len(rows))
    before = [0.0] * len(rows)
    largest = max(sum(row.values()) for row in rows.values())
    unit, pj = next(((u, pj) for u, pj in _UNITS if largest < 1e3 * pj), _UNITS[-1])
    for kind in KINDS:
        values = [row[kind] / pj for row in rows.values()]
        axes.barh(positions, values, left=before, color=COLOURS[kind], label=MEANINGS[kind])
        before = [a + b for a, b in zip(before, values)]
    axes.set_yticks(positions, rows, fontsize=7)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel(f'{unit} a sample ({model.name})')
    axes.set_title('Energy by layer', fontsize=10)
    axes.legend(fontsize=7)
    axes.spines[['top', 'right']].set_visible(False)


def draw_shares(axes: Axes, work: Work, model: EnergyModel) -> None:
    """Draws what share of the dense operations and of the energy each kind has.

    Args:
        axes (Axes): Where to draw.
        work (Work): What :func:`measure_work` tells of a network.
        model (EnergyModel): The model of the energy.
    """
    bars = {
        'dense\noperations': {kind: work.dense(kind) for kind in KINDS},
        'energy': {
            kind: sum(model.layer_pj(layer) for layer in work.layers if layer.kind == kind)
            for kind in KINDS
        },
    }
    for position, values in enumerate(bars.values()):
        whole, before = sum(values.values()) or 1.0, 0.0
        for kind in KINDS:
            share = values[kind] / whole
            axes.barh(position, share, left=before, color=COLOURS[kind])
            if share > 0.06:
                middle = before + share / 2
                axes.text(middle, position, f'{share:.0%}', ha='center', va='center', color='white')
            before += share
    axes.set_yticks(range(len(bars)), bars)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.set_title(f'Shares by kind ({model.name})', fontsize=10)
    axes.spines[['top', 'right', 'bottom']].set_visible(False)


def draw_models(
    axes: Axes, estimates: Sequence[EnergyEstimate], others: Sequence[OtherEstimate]
) -> None:
    """Draws the energy under each model, beside that of the ANN.

    Args:
        axes (Axes): Where to draw.
        estimates (Sequence[EnergyEstimate]): The energy under models.
        others (Sequence[OtherEstimate]): SpikingJelly's estimates.
    """
    bars = []
    for estimate in estimates:
        bars.append((f'SNN, {estimate.model.name}', estimate.snn_mj, _SNN))
        bars.append((f'ANN, {estimate.model.name}', estimate.ann_mj, _ANN))
    for other in others:
        colour = _ANN if 'ANN' in other.name else _OTHER
        memory = ' (with memory)' if other.memory_mj is not None else ''
        bars.append((f'SpikingJelly {other.name}{memory}', other.energy_mj or 0.0, colour))
    axes.set_xscale('log')
    names, values, colours = zip(*bars)
    axes.barh(range(len(bars)), values, color=colours)
    for position, value in enumerate(values):
        axes.text(value, position, f' {in_joules(value)}', va='center', fontsize=8)
    axes.set_yticks(range(len(bars)), names, fontsize=8)
    axes.invert_yaxis()
    shown = [value for value in values if value > 0]
    axes.set_xlim(min(shown) / 3, max(shown) * 12)
    axes.set_xlabel('mJ a sample')
    axes.set_title('Models side by side; the ANN runs one step', fontsize=10)
    axes.spines[['top', 'right']].set_visible(False)
