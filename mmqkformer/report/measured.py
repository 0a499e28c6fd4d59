"""Sections of a report on rates, energy and what is additions of spikes."""

from collections.abc import Iterator
from dataclasses import dataclass

from tqdm import tqdm

from ..analysis.early_exit import StepPredictions, predict_over_time
from ..analysis.energy.estimate import (
    ENERGY_MODELS,
    EnergyEstimate,
    ann_operations,
    estimate_energy,
)
from ..analysis.energy.figure import (
    MEANINGS,
    draw_layers,
    draw_models,
    draw_shares,
    in_joules,
    layer_rows,
)
from ..analysis.energy.purity import Purity, purity
from ..analysis.energy.spikingjelly import OtherEstimate, spikingjelly_energy
from ..analysis.energy.synops import Work, measure_work
from ..analysis.published import COLUMNS
from ..analysis.rate_figure import draw_firing_rates, figure_of
from ..analysis.rates import FiringRates, firing_rates, table_7
from ..analysis.subject import RANDOM_WEIGHTS, Subject
from ..deploy import as_deployed
from .page import Chart, Section, Table, Text, Tiles


@dataclass
class Findings:
    """What several sections tell of.

    Attributes:
        rates (FiringRates): Firing rates.
        work (Work): Operations of the network as it is deployed.
        deployed (str): How that is.
        pure (Purity): What of it is additions of spikes.
        estimates (list[EnergyEstimate]): Energies.
        others (list[OtherEstimate]): SpikingJelly's.
        over_time (StepPredictions | None): Predictions after each step; None of a network that
            does not run step by step.
        whole_only (str): Why it does not.
    """

    rates: FiringRates
    work: Work
    deployed: str
    pure: Purity
    estimates: list[EnergyEstimate]
    others: list[OtherEstimate]
    over_time: StepPredictions | None
    whole_only: str


def look(subject: Subject, samples: int) -> Findings:
    """Measures a classifier on the first samples of its test set.

    Args:
        subject (Subject): The classifier.
        samples (int): At most so many.
    """

    def batches(what: str) -> Iterator[dict]:
        tqdm.write(what)
        return subject.batches(samples)

    rates = firing_rates(subject.model, batches('firing rates'))
    model, deployed = as_deployed(subject.model)
    work = measure_work(model, batches('operations'))
    one = next(subject.batches(1))['inputs']
    macs = ann_operations(model, tuple(one.shape[1:]))
    try:
        over_time = predict_over_time(subject.model, batches('accuracy over time'))
        whole_only = ''
    except ValueError as error:
        over_time, whole_only = None, str(error)
    return Findings(
        rates,
        work,
        deployed,
        purity(work),
        [estimate_energy(work, macs, energy) for energy in ENERGY_MODELS],
        spikingjelly_energy(model, one),
        over_time,
        whole_only,
    )


def summary_section(subject: Subject, found: Findings) -> Section:
    """Key figures."""
    energy = found.estimates[0]
    parameters = sum(p.numel() for p in subject.model.parameters())
    tiles = [
        ('parameters', _short(parameters), f'{parameters:,}'),
        ('time steps', str(found.rates.time_steps), 'T'),
        ('dense products', _short(found.work.dense()), 'a sample, all steps together'),
        (
            'synaptic operations',
            _short(found.work.synaptic()),
            'additions that spikes make of them',
        ),
        ('firing rate', f'{found.rates.mean:.4f}', 'spikes per output of a neuron'),
        ('energy', in_joules(energy.snn_mj), f'{energy.model.name}, arithmetic alone'),
        (
            'as an ANN of 8 bits',
            in_joules(energy.ann_int8_mj),
            f'one step, likewise; in float32 {in_joules(energy.ann_mj)}',
        ),
    ]
    if found.over_time is not None and subject.trained:
        right = found.over_time.accuracies()[-1]
        tiles.insert(0, ('top-1', f'{right:.2f} %', f'of {found.rates.samples} test samples'))
    warning = [] if subject.trained else [Text(f'{RANDOM_WEIGHTS}.', warning=True)]
    return Section('Summary', [*warning, Tiles(tiles)])


def firing_section(found: Findings) -> Section:
    """Firing rates by layer and step."""
    rates = found.rates
    size = (7.0, figure_of(rates).get_figheight())
    parts = [
        Text(
            'Spikes per output of every neuron, the first layer at the top, and at every time '
            f'step; {rates.samples} samples.'
        ),
        Chart.of(
            lambda figure: draw_firing_rates(figure, rates, ''), 'firing rates by layer', size
        ),
    ]
    if stages := table_7(rates):
        rows = [
            [f'stage {stage}', *('-' if row[c] is None else f'{row[c]:.4f}' for c in COLUMNS)]
            for stage, row in stages.items()
        ]
        parts.append(Table(('', *COLUMNS), rows, "The columns of the QKFormer paper's Table 7"))
    steps = [f't = {t + 1}' for t in range(rates.time_steps)]
    rows = [
        [layer.name, f'{layer.rate:.4f}', f'{layer.active:.4f}', *map('{:.4f}'.format, layer.rates)]
        for layer in rates.layers
    ]
    parts.append(Table(('neuron', 'rate', 'not 0', *steps), rows, 'Every neuron', folded=True))
    return Section('Firing rates', parts)


def energy_section(found: Findings) -> Section:
    """Energies by model and layer."""
    first = found.estimates[0].model
    bars = layer_rows(found.work, first)
    rows = [
        [
            e.model.name,
            in_joules(e.snn_mj),
            in_joules(e.ann_mj),
            in_joules(e.ann_int8_mj),
            f'{e.mean_input:.4f}',
            *('never' if r is None else f'{r:.4f}' for r in (e.break_even, e.break_even_int8)),
        ]
        for e in found.estimates
    ]
    header = ('model', 'SNN', 'ANN', 'ANN, int8', 'mean input')
    layers = [
        [
            layer.name or '(the model)',
            layer.kind,
            f'{layer.dense:,}',
            '-' if layer.kind == 'analogue' else f'{layer.synaptic:,.0f}',
            in_joules(first.layer_pj(layer) * 1e-9),
        ]
        for layer in found.work.layers
    ]
    assumptions = ' '.join(f'{e.model.name}: {e.model.assumptions}.' for e in found.estimates)
    return Section(
        'Energy',
        [
            Text(
                'Of one sample. A layer that takes spikes costs an addition for each spike and '
                'each output that it reaches, any other its dense multiplications and additions. '
                f'The ANN is the same network with one step. {assumptions}'
            ),
            Chart.of(
                lambda figure: draw_models(figure.subplots(), found.estimates, found.others),
                'energy by model, beside the ANN',
                (5.2, 3.0),
            ),
            Table((*header, 'break-even', 'break-even, int8'), rows),
            Chart.of(
                lambda figure: draw_layers(figure.subplots(), bars, first),
                'energy by layer',
                (7.0, 1.4 + 0.19 * len(bars)),
            ),
            Table(
                ('layer', 'takes', 'dense products', 'synaptic operations', 'energy'),
                layers,
                'Every layer',
                folded=True,
            ),
        ],
    )


def purity_section(found: Findings) -> Section:
    """Shares of additions of spikes, and what is none."""
    pure = found.pure
    shares = [
        (MEANINGS[kind], f'{share:.1%}', 'of the dense products')
        for kind, share in pure.shares.items()
    ]
    parts = [
        Text(f'The network {found.deployed}.'),
        Tiles(shares),
        Chart.of(
            lambda figure: draw_shares(figure.subplots(), found.work, found.estimates[0].model),
            'shares of dense products and of energy by kind',
            (5.2, 1.6),
        ),
    ]
    for caption, remarks in (
        ('What a neuromorphic chip could not run as additions of spikes', pure.impure),
        ('What folds into weights or thresholds', pure.folds),
    ):
        rows = [(remark.name or '(the model)', remark.reason) for remark in remarks]
        if rows:
            parts.append(Table(('where', 'what'), rows, caption, words=True))
        else:
            parts.append(Text(f'{caption}: nothing.'))
    return Section('Is it really spikes?', parts)


def _short(count: float) -> str:
    for unit, size in (('G', 1e9), ('M', 1e6), ('k', 1e3)):
        if count >= size:
            return f'{count / size:.3g} {unit}'
    return f'{count:.3g}'
