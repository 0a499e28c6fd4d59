"""What a report says of a model, section by section."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import nn
from tqdm import tqdm

from ...deploy import as_deployed
from ...layers.attention import QKTokenAttention, SpikingSelfAttention
from ..attention import record_attention
from ..attention_memory import PAPER_SIDES, attention_memory, draw_attention_memory
from ..compare_curves import compare_curves, verdict
from ..curve_figure import draw_comparison
from ..curves import read_curves, read_work_dir
from ..early_exit import StepPredictions, predict_over_time, sweep_thresholds
from ..energy import ENERGY_MODELS, EnergyEstimate, ann_operations, estimate_energy
from ..energy_figure import draw_layers, draw_models, draw_shares, in_joules, layer_rows
from ..pictures import input_pictures, overlay_arrays
from ..purity import Purity, purity
from ..rate_figure import draw_firing_rates, figure_of
from ..rates import COLUMNS, FiringRates, firing_rates, table_7
from ..spikingjelly_energy import OtherEstimate, spikingjelly_energy
from ..subject import RANDOM_WEIGHTS, Subject
from ..synops import Work, measure_work
from .page import Chart, Films, Section, Table, Text, Tiles, picture

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
KINDS = dict(
    binary='additions of binary spikes',
    integer='additions of numbers of spikes',
    analogue='multiplications and additions',
)


@dataclass(frozen=True)
class Request:
    """What a report is to be of.

    Attributes:
        samples (int): Samples of the test set that are measured.
        shown (Sequence[int]): Those among them whose attention is drawn, from 0.
        work_dir (Path | None): The training whose curves are compared, if any.
        reference (str | None): What they are compared with, see
            :func:`~mmqkformer.analysis.curves.read_curves`.
    """

    samples: int
    shown: Sequence[int]
    work_dir: Path | None = None
    reference: str | None = None


@dataclass
class _Findings:
    """What several sections tell of."""

    rates: FiringRates
    work: Work
    deployed: str
    pure: Purity
    estimates: list[EnergyEstimate]
    others: list[OtherEstimate]
    over_time: StepPredictions | None
    whole_only: str


def report_sections(subject: Subject, request: Request) -> list[Section]:
    """Measures a classifier and tells of it.

    Args:
        subject (Subject): The classifier, its config and its images.
        request (Request): How much, and what else.

    Returns:
        list[Section]: A summary first.

    Raises:
        OSError: Logs cannot be read.
        ValueError: The model is no classifier, has fewer samples than are to be shown, or logs
            are none.
    """
    if not hasattr(subject.model, 'head'):
        raise ValueError(f'{subject.name}: expected a classifier')
    found = _look(subject, request.samples)
    if max(request.shown, default=0) >= found.rates.samples:
        raise ValueError(
            f'sample {max(request.shown)}: expected 0 to {found.rates.samples - 1}, as many are '
            'looked at'
        )
    sections = [
        _summary(subject, found),
        _firing(found),
        _energy(found),
        _purity(found),
        *_attention(subject, request.shown),
        _fewer_steps(found),
        *_memory(subject.model),
    ]
    if request.work_dir is not None:
        sections.append(_training(request.work_dir, request.reference))
    return sections


def _look(subject: Subject, samples: int) -> _Findings:
    def batches(what: str) -> tqdm:
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
    return _Findings(
        rates,
        work,
        deployed,
        purity(work),
        [estimate_energy(work, macs, energy) for energy in ENERGY_MODELS],
        spikingjelly_energy(model, one),
        over_time,
        whole_only,
    )


def _summary(subject: Subject, found: _Findings) -> Section:
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


def _firing(found: _Findings) -> Section:
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


def _energy(found: _Findings) -> Section:
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
                (6.4, 3.2),
            ),
            Table((*header, 'break-even', 'break-even, int8'), rows),
            Chart.of(
                lambda figure: draw_layers(figure.subplots(), bars, first),
                'energy by layer',
                (6.4, 1.4 + 0.19 * len(bars)),
            ),
            Table(
                ('layer', 'takes', 'dense products', 'synaptic operations', 'energy'),
                layers,
                'Every layer',
                folded=True,
            ),
        ],
    )


def _purity(found: _Findings) -> Section:
    pure = found.pure
    shares = [
        (KINDS[kind], f'{share:.1%}', 'of the dense products')
        for kind, share in pure.shares.items()
    ]
    parts = [
        Text(f'The network {found.deployed}.'),
        Tiles(shares),
        Chart.of(
            lambda figure: draw_shares(figure.subplots(), found.work, found.estimates[0].model),
            'shares of dense products and of energy by kind',
            (6.4, 1.7),
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


def _attention(subject: Subject, shown: Sequence[int]) -> list[Section]:
    """Of a network whose attentions have maps; none else."""
    if not shown:
        return []
    inputs = torch.cat([batch['inputs'] for batch in subject.batches(max(shown) + 1)])
    section = Section('Attention', [])
    for index in shown:
        one = inputs[index : index + 1]
        try:
            attentions = record_attention(subject.model.backbone, partial(subject.model, one))
        except ValueError as error:
            return [Section('Attention', [Text(f'None is drawn: {error}.')])]
        images = input_pictures(subject.model.data_preprocessor, one)[0]
        maps = {name: attention.received() for name, attention in attentions.items()}
        steps = max(len(token_map.values) for token_map in maps.values())
        films = [(f'sample {index}', [picture(images[t % len(images)]) for t in range(steps)])]
        for name, token_map in maps.items():
            frames = overlay_arrays(images, token_map)
            films.append(
                (
                    f'{name}: {token_map.unit}',
                    [picture(frames[t % len(frames)]) for t in range(steps)],
                )
            )
        section.parts.append(Films(films, steps))
    section.parts.insert(
        0,
        Text(
            'What each attention lets pass or looks at, laid over the sample: the stronger the '
            'tint, the more. Move the slider through the time steps.'
        ),
    )
    return [section]


def _fewer_steps(found: _Findings) -> Section:
    title = 'Fewer time steps'
    if found.over_time is None:
        return Section(title, [Text(f'It runs whole only: {found.whole_only}.')])
    accuracies = found.over_time.accuracies()
    sweep = sweep_thresholds(found.over_time, 'confidence', THRESHOLDS)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        steps = range(1, len(accuracies) + 1)
        axes.plot(steps, accuracies, 'o-', label='all samples stop after T')
        means = [point.mean_steps for point in sweep.points]
        axes.plot(
            means, [p.accuracy for p in sweep.points], 's--', label='each stops once confident'
        )
        axes.set(xlabel='time steps, mean over the samples', ylabel='top-1, %')
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()

    rows = [
        [f'{p.threshold:g}', f'{p.accuracy:.2f}', f'{p.mean_steps:.2f}', *map(str, p.exits)]
        for p in sweep.points
    ]
    steps = [f'stop at {t + 1}' for t in range(len(accuracies))]
    return Section(
        title,
        [
            Text(
                'Accuracy when all samples stop after so many steps, and when each stops as soon '
                'as the largest score reaches a threshold.'
            ),
            Chart.of(draw, 'accuracy by time steps'),
            Table(('T', 'top-1, %'), [[str(t + 1), f'{a:.2f}'] for t, a in enumerate(accuracies)]),
            Table(('threshold', 'top-1, %', 'mean steps', *steps), rows, 'Early exit'),
        ],
    )


def _memory(model: nn.Module) -> list[Section]:
    """Of a network with one of the attentions that the paper compares."""
    kinds = (QKTokenAttention, SpikingSelfAttention)
    if not any(isinstance(module, kinds) for module in model.modules()):
        return []
    rows = [row for side in PAPER_SIDES for row in attention_memory(side)]
    names = list(dict.fromkeys(row.name for row in rows))
    cells = []
    for side in PAPER_SIDES:
        of_side = [row for row in rows if row.side == side]
        counted = [f'{row.counted / 2**20:.2f}' for row in of_side]
        paper = ['-' if row.paper is None else f'{row.paper:.2f}' for row in of_side]
        cells.append([f'{side**2:,}', *(f'{c} ({p})' for c, p in zip(counted, paper))])
    return [
        Section(
            'Memory of an attention',
            [
                Text(
                    'MB by the number of tokens, one step of one image, 256 channels, one head: '
                    "counted here, and in brackets the QKFormer paper's Table 8."
                ),
                Chart.of(lambda f: draw_attention_memory(f, rows), 'memory by tokens'),
                Table(('tokens', *names), cells, 'Every number of tokens', folded=True),
            ],
        )
    ]


def _training(work_dir: Path, reference: str | None) -> Section:
    run = read_work_dir(work_dir)
    comparison = compare_curves(run, read_curves(reference))
    rows = [(compared.quantity, verdict(compared)) for compared in comparison.compared]
    chart = Chart.of(
        lambda figure: draw_comparison(figure, comparison),
        'curves of the training over the reference',
        (11.0, 5.0),
    )
    notes = [Text(note) for note in comparison.reference.notes]
    return Section(
        'Training against the reference',
        [Table(('quantity', 'verdict'), rows, words=True), chart, *notes],
    )


def _short(count: float) -> str:
    for unit, size in (('G', 1e9), ('M', 1e6), ('k', 1e3)):
        if count >= size:
            return f'{count / size:.3g} {unit}'
    return f'{count:.3g}'
