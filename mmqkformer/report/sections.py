"""What a report says of a model, section by section."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from ..analysis.attention import record_attention
from ..analysis.attention_memory import PAPER_SIDES, attention_memory, draw_attention_memory
from ..analysis.curves.comparison import compare_curves, verdict
from ..analysis.curves.figure import draw_comparison
from ..analysis.curves.reading import read_curves, read_work_dir
from ..analysis.early_exit import sweep_thresholds
from ..analysis.pictures import input_pictures, overlay_arrays
from ..analysis.subject import Subject
from ..layers.attention import QKTokenAttention, SpikingSelfAttention
from .measured import (
    Findings,
    energy_section,
    firing_section,
    look,
    purity_section,
    summary_section,
)
from .page import Chart, Films, Section, Table, Text, picture

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Request:
    """What a report is to be of.

    Attributes:
        samples (int): Samples of the test set that are measured.
        shown (Sequence[int]): Those among them whose attention is drawn, from 0.
        work_dir (Path | None): The training whose curves are compared, if any.
        reference (str | None): What they are compared with, see
            :func:`~mmqkformer.analysis.curves.reading.read_curves`.
    """

    samples: int
    shown: Sequence[int]
    work_dir: Path | None = None
    reference: str | None = None


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
    # Now, not behind the work
    shown = {index: subject.sample(index)['inputs'] for index in request.shown}
    found = look(subject, request.samples)
    sections = [
        summary_section(subject, found),
        firing_section(found),
        energy_section(found),
        purity_section(found),
        *_attention(subject, shown),
        _fewer_steps(found),
        *_memory(subject.model),
    ]
    if request.work_dir is not None:
        sections.append(training_section(request.work_dir, request.reference))
    return sections


def _attention(subject: Subject, shown: Mapping[int, Tensor]) -> list[Section]:
    """Of inputs ``[1, ...]`` by their place in the test set."""
    if not shown:
        return []
    section = Section('Attention', [])
    for index, one in shown.items():
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


def _fewer_steps(found: Findings) -> Section:
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


def training_section(work_dir: Path, reference: str | Path) -> Section:
    """A training over its reference.

    Args:
        work_dir (Path): Work directory of the training.
        reference (str | Path): See :func:`~mmqkformer.analysis.curves.read_curves`.

    Raises:
        OSError: Logs cannot be read.
        ValueError: There is nothing to compare.
    """
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
