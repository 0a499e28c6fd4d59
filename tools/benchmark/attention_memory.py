"""Memory of one attention by the number of tokens, beside the paper's (Table 8).

Counted is what is allocated at the peak beyond Q, K and V, in float32 for one step of one image and
without the projection: of Q-K token attention up to the masked K, its neuron included; of spiking
self attention the two products, in both orders, without the neuron behind them, by which the paper
gets its own figures: C N + 3 N values, and N^2 + C N. The bytes are those of the package's layers,
counted on tensors without data; on a GPU they are also measured. MB are 2^20 bytes.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from interleaved import device_name, write
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmqkformer.analysis.attention_memory import (
    PAPER,
    PAPER_CHANNELS,
    PAPER_SIDES,
    attention_memory,
    draw_attention_memory,
)
from mmqkformer.analysis.figures import save_figure
from mmqkformer.checks import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--sides', type=at_least(1), nargs='+', default=list(PAPER_SIDES), help='roots of N'
    )
    parser.add_argument('--channels', type=at_least(1), default=PAPER_CHANNELS)
    parser.add_argument('--heads', type=at_least(1), default=1, help='a divisor of the channels')
    parser.add_argument('--json', type=Path, help='file to write the figures to')
    parser.add_argument('--figure', type=Path, help='file to draw the chart to')
    args = parser.parse_args()
    if args.channels % args.heads:
        parser.error(f'--heads {args.heads}: expected a divisor of --channels {args.channels}')
    return args


def main() -> None:
    args = parse_args()
    rows = []
    for side in track(args.sides, description='tokens'):
        rows += attention_memory(side, args.channels, args.heads)
    title = f'MB of one attention, C {args.channels}, heads {args.heads}, T 1, batch 1'
    table = Table(title=f'{title}; {device_name()}, torch {torch.__version__}')
    for column in ('sqrt N', 'tokens'):
        table.add_column(column, justify='right')
    shown = ('counted', 'measured', 'paper') if torch.cuda.is_available() else ('counted', 'paper')
    for name in dict.fromkeys(row.name for row in rows):
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
        figure = Figure(figsize=(6, 4), layout='constrained')
        draw_attention_memory(figure, rows)
        figure.suptitle(title, fontsize='small')
        save_figure(figure, args.figure)


if __name__ == '__main__':
    main()
