"""Memory of one attention by the number of tokens, beside the paper's (Table 8).

Counted is what is allocated at the peak beyond Q, K and V, in float32 for one step of one image and
without the projection: of Q-K token attention up to the masked K, its neuron included; of spiking
self attention the two products, in both orders, without the neuron behind them, by which the paper
gets its own figures: C N + 3 N values, and N^2 + C N. The bytes are those of the package's layers,
counted on tensors without data; on a GPU they are also measured. MB are 2^20 bytes.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from interleaved import device_name, write
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mmqkformer.analysis import LiveBytes
from mmqkformer.analysis.figures import save_figure
from mmqkformer.checks import at_least
from mmqkformer.layers.attention import QKTokenAttention, SpikingSelfAttention

QKTA, QK_FIRST, KV_FIRST = 'QKTA', 'SSA, (q k^T) v', 'SSA, q (k^T v)'
# MB by sqrt N, C = 256
PAPER = {
    QKTA: {
        10: 0.10,
        20: 0.40,
        30: 0.89,
        40: 1.58,
        50: 2.47,
        60: 3.56,
        80: 6.32,
        100: 10.35,
        120: 14.23,
        140: 20.22,
        160: 26.29,
        180: 32.37,
        200: 40.46,
    },
    QK_FIRST: {
        10: 0.14,
        20: 1.00,
        30: 3.97,
        40: 12.19,
        50: 26.44,
        60: 53.52,
        80: 162.50,
        100: 391.77,
        120: 806.06,
        140: 1485.14,
        160: 2525.00,
        180: 4036.88,
        200: 6143.06,
    },
}
CHANNELS = 256


@dataclass
class Row:
    """One attention on one number of tokens.

    Attributes:
        side (int): The root of the number of tokens.
        name (str): Which attention.
        counted (int): Bytes.
        measured (int | None): Bytes on a GPU; None without one, or where they do not fit.
        paper (float | None): MB that the paper gives for it.
    """

    side: int
    name: str
    counted: int
    measured: int | None
    paper: float | None


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--sides', type=at_least(1), nargs='+', default=list(PAPER[QKTA]), help='roots of N'
    )
    parser.add_argument('--channels', type=at_least(1), default=CHANNELS)
    parser.add_argument('--heads', type=at_least(1), default=1, help='a divisor of the channels')
    parser.add_argument('--json', type=Path, help='file to write the figures to')
    parser.add_argument('--figure', type=Path, help='file to draw the chart to')
    args = parser.parse_args()
    if args.channels % args.heads:
        parser.error(f'--heads {args.heads}: expected a divisor of --channels {args.channels}')
    return args


def attentions(channels: int, heads: int) -> dict[str, Callable[[Tensor, Tensor, Tensor], object]]:
    """What each makes of Q, K and V ``[T, B, C, H, W]``, by name."""
    neuron = dict(type='LIFNeuron', backend='torch')
    args = dict(embed_dims=channels, num_heads=heads, neuron=neuron, norm_cfg=dict(type='BN'))
    masking = QKTokenAttention(**args)

    def products(order: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        attention = SpikingSelfAttention(**args, contraction=order)

        def run(*tensors: Tensor) -> Tensor:
            return attention.contract(*(x.flatten(3).unflatten(2, (heads, -1)) for x in tensors))

        return run

    return {
        QKTA: lambda q, k, v: masking.masked(q, k),
        QK_FIRST: products('qk_first'),
        KV_FIRST: products('kv_first'),
    }


@torch.no_grad()
def counted(attention: Callable[..., object], channels: int, side: int) -> int:
    """Bytes at the peak beyond Q, K and V."""
    with FakeTensorMode(), LiveBytes() as live:
        tensors = [torch.empty(1, 1, channels, side, side) for _ in range(3)]
        live.label(tensors, 'given')
        attention(*tensors)
    return live.peak['working']


@torch.no_grad()
def measured(attention: Callable[..., object], channels: int, side: int) -> int | None:
    """The same, as the allocator of a GPU has it; None without one, or where it does not fit."""
    if not torch.cuda.is_available():
        return None
    tensors = [torch.randint(2, (1, 1, channels, side, side)).float().cuda() for _ in range(3)]
    try:
        attention(*tensors)  # libraries keep workspaces from their first call on
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        attention(*tensors)
    except torch.OutOfMemoryError:
        return None
    return torch.cuda.max_memory_allocated() - before


def draw(rows: list[Row], title: str, path: Path) -> None:
    """Memory by the number of tokens, lines as counted, dots as published."""
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    for name in dict.fromkeys(row.name for row in rows):
        of_one = [row for row in rows if row.name == name]
        tokens = [row.side**2 for row in of_one]
        (line,) = axes.plot(tokens, [row.counted / 2**20 for row in of_one], label=name)
        published = [(row.side**2, row.paper) for row in of_one if row.paper is not None]
        if published:
            label = f'{name}, paper'
            axes.plot(*zip(*published), 'o', color=line.get_color(), label=label, fillstyle='none')
    axes.set(xscale='log', yscale='log', xlabel='tokens', ylabel='MB')
    axes.legend(fontsize='small')
    axes.set_title(title, fontsize='small')
    save_figure(figure, path)


def main() -> None:
    args = parse_args()
    rows = []
    compared = attentions(args.channels, args.heads)
    as_published = (args.channels, args.heads) == (CHANNELS, 1)
    for side in track(args.sides, description='tokens'):
        for name, attention in compared.items():
            paper = PAPER.get(name, {}).get(side) if as_published else None
            bytes_ = counted(attention, args.channels, side)
            rows.append(Row(side, name, bytes_, measured(attention, args.channels, side), paper))
    title = f'MB of one attention, C {args.channels}, heads {args.heads}, T 1, batch 1'
    table = Table(title=f'{title}; {device_name()}, torch {torch.__version__}')
    for column in ('sqrt N', 'tokens'):
        table.add_column(column, justify='right')
    shown = ('counted', 'measured', 'paper') if torch.cuda.is_available() else ('counted', 'paper')
    for name in compared:
        for kind in shown if name in PAPER else shown[:-1]:
            table.add_column(f'{name}\n{kind}', justify='right')
    for side in args.sides:
        cells = []
        for row in (row for row in rows if row.side == side):
            kinds = dict(counted=row.counted / 2**20, paper=row.paper)
            kinds['measured'] = None if row.measured is None else row.measured / 2**20
            for kind in shown if row.name in PAPER else shown[:-1]:
                cells.append('-' if kinds[kind] is None else f'{kinds[kind]:.2f}')
        table.add_row(str(side), f'{side**2:,}', *cells)
    Console(width=140).print(table)
    write(args.json, title, [asdict(row) for row in rows])
    if args.figure is not None:
        draw(rows, title, args.figure)


if __name__ == '__main__':
    main()
