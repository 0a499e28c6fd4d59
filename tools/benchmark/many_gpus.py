"""Images a second and memory a card from 8 to 512 GPUs, computed on paper; nothing is measured.

Counted are the products of a training step (three times those of an inference), the bytes that an
all-reduce of the gradients moves, and the memory of a card. Assumed, and printed: the rate of one
card, which is that of the release's log on 8 V100 times the ratio of the cards' memory bandwidths
(neurons and norms move memory), its exchange included; nodes of 8; a ring of p cards, in which each
card, or the network card of each node, sends 2 (p - 1) / p times the gradients in float32 in
2 (p - 1) steps, each with a latency; `at least` without any overlap with the backward pass,
`at most` with all that is possible. The images of a card stay, so that the batch grows.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from interleaved import write
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from rich.console import Console
from rich.table import Table

from mmqkformer.analysis import count_operations, training_memory
from mmqkformer.analysis.figures import save_figure
from mmqkformer.checks import at_least, number

ROOT = Path(__file__).parents[2]
# Images and seconds of an iteration of one of 8 V100, from the release's training logs
LOGS = {'hst-10-384': (32, 0.3435), 'hst-10-768': (24, 0.7203)}
CONFIGS = {'hst-10-384': 'hst-10-384_8xb64_in1k', 'hst-10-768': 'hst-10-768_8xb64_in1k'}
V100_BANDWIDTH = 900.0
NODE = 8
EPOCHS, IMAGES = 200, 1_281_167
# 138 GB of ImageNet's training archive over its images
BYTES_OF_AN_IMAGE = 138e9 / IMAGES


@dataclass
class Row:
    """A number of GPUs.

    Attributes:
        gpus (int): Their number.
        batch (int): Images of all of them.
        all_reduce (float): Seconds of the exchange.
        at_least (float): Images a second without overlap.
        at_most (float): Images a second where the backward pass covers it, or as much as it can.
    """

    gpus: int
    batch: int
    all_reduce: float
    at_least: float
    at_most: float


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', choices=LOGS, default='hst-10-384')
    parser.add_argument(
        '--gpus', type=at_least(2), nargs='+', default=[8, 16, 32, 64, 128, 256, 512]
    )
    parser.add_argument(
        '--bandwidth', type=number(1), default=V100_BANDWIDTH, help="GB/s of a card's memory"
    )
    parser.add_argument(
        '--inside', type=number(0.1), default=50.0, help='GB/s of a card within a node'
    )
    parser.add_argument('--across', type=number(0.1), default=12.5, help='GB/s of a node to others')
    parser.add_argument(
        '--latency', type=number(0), default=5.0, help='microseconds of a step of the ring'
    )
    parser.add_argument('--json', type=Path, help='file to write the figures to')
    parser.add_argument('--figure', type=Path, help='file to draw the chart to')
    return parser.parse_args()


def predict(
    gpus: int,
    images: int,
    rate: float,
    gradients: int,
    inside: float,
    across: float,
    latency: float,
) -> Row:
    """A row.

    Args:
        gpus (int): p.
        images (int): Of a card.
        rate (float): Images a second of a card.
        gradients (int): Bytes.
        inside (float): Bytes a second of a card within a node.
        across (float): Bytes a second of a node to others.
        latency (float): Seconds of a step of the ring.
    """
    step = images / rate
    link = inside if gpus <= NODE else min(inside, across)
    all_reduce = 2 * (gpus - 1) * (gradients / gpus / link + latency)
    # The forward pass, a third of the step, has nothing to exchange
    uncovered = max(0.0, all_reduce - 2 / 3 * step)
    batch = gpus * images
    return Row(gpus, batch, all_reduce, batch / (step + all_reduce), batch / (step + uncovered))


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(ROOT / f'configs/qkformer/{CONFIGS[args.arch]}.py')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        counts = count_operations(MODELS.build(cfg.model), (3, 224, 224))
    memory = training_memory(cfg, (224, 224), gpus=NODE)
    images, seconds = LOGS[args.arch]
    rate = images / seconds * args.bandwidth / V100_BANDWIDTH
    gradients = 4 * counts.parameters
    links = (1e9 * args.inside, 1e9 * args.across, 1e-6 * args.latency)
    rows = [predict(gpus, memory.images, rate, gradients, *links) for gpus in args.gpus]
    per_image = 6 * counts.total
    title = (
        f'{args.arch}, 224 px, {memory.images} images a card: {per_image / 1e9:.1f} G operations '
        f'an image, {gradients / 1e6:.1f} MB of gradients, {memory.total / 2**30:.1f} GiB a card '
        f'counted; assumed {rate:.1f} images/s a card ({per_image * rate / 1e12:.1f} T '
        f'operations/s), {args.inside:g} GB/s in a node, {args.across:g} GB/s between, '
        f'{args.latency:g} us a step'
    )
    table = Table(title=title)
    for column in ('GPUs', 'batch', 'all-reduce, ms', 'images/s at least', 'at most'):
        table.add_column(column, justify='right')
    for column in ('efficiency', f'hours, {EPOCHS} epochs', 'files, MB/s'):
        table.add_column(column, justify='right')
    for row in rows:
        table.add_row(
            str(row.gpus),
            f'{row.batch:,}',
            f'{1000 * row.all_reduce:.1f}',
            f'{row.at_least:,.0f}',
            f'{row.at_most:,.0f}',
            f'{row.at_least / rate / row.gpus:.3f}',
            f'{EPOCHS * IMAGES / row.at_least / 3600:.1f}',
            f'{row.at_most * BYTES_OF_AN_IMAGE / 1e6:,.0f}',
        )
    Console(width=130).print(table)
    write(args.json, title, dict(memory=memory.parts, rows=[asdict(row) for row in rows]))
    if args.figure is not None:
        figure = Figure(figsize=(6, 4), layout='constrained')
        axes = figure.subplots()
        gpus = [row.gpus for row in rows]
        axes.axhline(rate, color='black', linestyle=':', label='without exchange')
        for bound in ('at_least', 'at_most'):
            of_a_card = [getattr(row, bound) / row.gpus for row in rows]
            axes.plot(gpus, of_a_card, marker='.', label=bound.replace('_', ' '))
        axes.set(xlabel='GPUs', ylabel='images/s a GPU', ylim=(0, 1.1 * rate))
        axes.set_xscale('log', base=2)
        axes.set_xticks(gpus, gpus)
        axes.legend(loc='lower left')
        axes.set_title(f'{args.arch}, computed, not measured', fontsize='small')
        save_figure(figure, args.figure)


if __name__ == '__main__':
    main()
