"""Time one neuron layer by backend against plain copies of the same tensor.

No layer can be faster than to read its currents and write its spikes once, which is what a copy
does: `copy` writes to memory that is at hand, which gives the machine's copy bandwidth, `clone` to
new memory, as a layer has to. All take turns in one process. Counted is the least traffic, in the
type of the currents: 2 elements forward, and 3 more backward (currents and gradient in, gradient
out). `of copy` is this traffic a second over that of `copy`.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from interleaved import Times, device_name, take_turns, write
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mmqkformer.analysis.figures import save_figure
from mmqkformer.checks import at_least
from mmqkformer.neurons import LIFNeuron
from mmqkformer.neurons.backends import choose_backend
from mmqkformer.neurons.backends.registry import _BACKENDS

FORWARD, TRAINING = 'forward', 'forward and backward'
# Elements that have to be read and written for one of the currents
TRAFFIC = {FORWARD: 2, TRAINING: 5}
COPIES = ('copy', 'clone')


@dataclass
class Row:
    """One layer.

    Attributes:
        time_steps (int): T.
        elements (int): Of a step.
        what (str): Forward, or forward and backward.
        name (str): Backend or copy.
        nanoseconds (float): An element of all steps, the median.
        gigabytes (float): Least traffic in 1e9 bytes a second.
        of_copy (float): The same over that of `copy`, the median over the rounds.
        spread (tuple[float, float]): Least and most of it.
        first (float): Seconds of the first two calls.
    """

    time_steps: int
    elements: int
    what: str
    name: str
    nanoseconds: float
    gigabytes: float
    of_copy: float
    spread: tuple[float, float]
    first: float


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--elements',
        type=at_least(1),
        nargs='+',
        default=[2**14, 2**18, 2**22],
        help='neurons of a layer: elements of a time step',
    )
    parser.add_argument('--time-steps', type=at_least(1), nargs='+', default=[1, 4, 16])
    parser.add_argument('--backends', nargs='+', choices=_BACKENDS, default=list(_BACKENDS))
    parser.add_argument(
        '--dtype', choices=('float32', 'float16', 'bfloat16'), default='float32', help='of currents'
    )
    parser.add_argument('--rounds', type=at_least(1), default=10)
    parser.add_argument(
        '--milliseconds', type=at_least(0), default=20, help='of a round, at least, of each'
    )
    parser.add_argument('--json', type=Path, help='file to write the measurements to')
    parser.add_argument('--figure', type=Path, help='file to draw the chart to')
    return parser.parse_args()


def computes(backend: str, x: Tensor) -> bool:
    """Whether a backend computes the layer here."""
    try:
        choose_backend(backend, LIFNeuron().dynamics, x)
    except ValueError:
        return False
    return True


def calls_on(x: Tensor, backends: Sequence[str], what: str) -> dict[str, Callable[[], object]]:
    """Copies of currents ``[T, N]``, and their layers, by name."""
    memory, grad = torch.empty_like(x), torch.randn_like(x)
    leaf = x.clone().requires_grad_()

    def layer(backend: str) -> Callable[[], object]:
        neuron = LIFNeuron(backend=backend)

        @torch.no_grad()
        def forward() -> None:
            neuron(x)

        def training() -> None:
            torch.autograd.grad(neuron(leaf), leaf, grad)

        return forward if what == FORWARD else training

    copies = dict(zip(COPIES, (lambda: memory.copy_(x), x.clone), strict=True))
    return {**copies, **{name: layer(name) for name in backends}}


def rows_of(times: dict[str, Times], x: Tensor, what: str) -> list[Row]:
    """What was measured on currents ``[T, N]``."""
    rows = []
    for name, measured in times.items():
        elements = TRAFFIC[FORWARD if name in COPIES else what]
        # A layer that moved its least traffic as the copy does its own would have 1
        relative = [elements / 2 * ratio for ratio in measured.ratios(times['copy'])]
        rows.append(
            Row(
                time_steps=x.size(0),
                elements=x.size(1),
                what=what,
                name=name,
                nanoseconds=1e9 * measured.middle / x.numel(),
                gigabytes=elements * x.numel() * x.element_size() / measured.middle / 1e9,
                of_copy=median(relative),
                spread=(min(relative), max(relative)),
                first=measured.first,
            )
        )
    return rows


def draw(rows: Sequence[Row], title: str, path: Path) -> None:
    """Traffic by the size of the layer, a panel for each pass, at T 4 where it was measured."""
    figure = Figure(figsize=(9, 3.6), layout='constrained')
    steps = sorted({row.time_steps for row in rows})
    shown = 4 if 4 in steps else steps[0]
    for axes, what in zip(figure.subplots(1, 2, sharey=True), TRAFFIC):
        for name in dict.fromkeys(row.name for row in rows):
            line = [r for r in rows if (r.name, r.what, r.time_steps) == (name, what, shown)]
            style = dict(color='black', linestyle='--' if name == 'copy' else ':')
            axes.plot(
                [row.elements for row in line],
                [row.gigabytes for row in line],
                marker='.',
                label=name,
                **(style if name in COPIES else {}),
            )
        axes.set_xscale('log', base=2)
        axes.set(yscale='log', title=f'{what}, T {shown}', xlabel='neurons')
    figure.axes[0].set_ylabel('least traffic, GB/s')
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside right center')
    figure.suptitle(title, fontsize='small')
    save_figure(figure, path)


def main() -> None:
    args = parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    probe = torch.ones(1, 8, device=device, dtype=getattr(torch, args.dtype))
    backends = [name for name in args.backends if computes(name, probe)]
    rows: list[Row] = []
    for time_steps in args.time_steps:
        for elements in args.elements:
            x = 2 * torch.rand(time_steps, elements, device=device).to(probe)
            for what in TRAFFIC:
                calls = calls_on(x, backends, what)
                description = f'T {time_steps}, {elements:,} neurons, {what}'
                times = take_turns(calls, args.rounds, description, args.milliseconds / 1000)
                rows += rows_of(times, x, what)
    title = f'one LIF layer, {args.dtype}; {device_name()}, torch {torch.__version__}'
    table = Table(title=title)
    for column in ('T', 'neurons', '', 'by', 'ns', 'GB/s', 'of copy', 'spread', 'first two, s'):
        table.add_column(column, justify='left' if column in ('', 'by') else 'right')
    for row in rows:
        table.add_row(
            str(row.time_steps),
            f'{row.elements:,}',
            row.what,
            row.name,
            f'{row.nanoseconds:.3f}',
            f'{row.gigabytes:.1f}',
            f'{row.of_copy:.2f}',
            f'{row.spread[0]:.2f} to {row.spread[1]:.2f}',
            f'{row.first:.2f}',
        )
    Console(width=120).print(table)
    write(args.json, title, [asdict(row) for row in rows])
    if args.figure is not None:
        draw(rows, title, args.figure)


if __name__ == '__main__':
    main()
