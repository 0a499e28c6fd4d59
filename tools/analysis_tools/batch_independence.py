"""Whether an accuracy depends on the batches and on the order that a test set is taken in.

QKFormer's release lets the neuron behind spiking self attention leak from one image of a batch into
the next. The same weights are tested with the leak and per sample, in batches of several sizes, by
class, reversed and shuffled, against the images one by one. With --recalibrate it is also measured
how much of what per-sample inference loses comes back.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from matplotlib.figure import Figure
from mmengine.dataset import BaseDataset
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import Subset

from mmqkformer.analysis import BatchRow, Recovery, batch_independence, recover
from mmqkformer.analysis.batch_figure import draw_batches
from mmqkformer.analysis.batch_independence import ANY, LEAKY, SORTED
from mmqkformer.analysis.figures import save_figure
from mmqkformer.analysis.subject import Subject, add_subject_arguments, open_subject
from mmqkformer.checks import at_least, number
from mmqkformer.datasets.layout import check_data_root
from mmqkformer.files import write_atomically


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_subject_arguments(parser, images=None, needs_checkpoint=True)
    parser.add_argument(
        '--images',
        type=at_least(1),
        help='so many, evenly spaced over the test set (default: all)',
    )
    parser.add_argument(
        '--batch-sizes',
        type=at_least(1),
        nargs='+',
        default=[2, 4, 16, 64, 180],
        help='at most all images; 1 is always measured (default: 2 4 16 64 180)',
    )
    parser.add_argument(
        '--seed', type=at_least(0), default=0, help='of the shuffled order (default: %(default)s)'
    )
    parser.add_argument(
        '--float64', action='store_true', help='so that sums round alike in batches of all sizes'
    )
    parser.add_argument(
        '--recalibrate',
        type=at_least(1),
        nargs='?',
        const=8192,
        metavar='IMAGES',
        help='also test per sample after estimating the statistics of BatchNorm on so many '
        'training images (without a number 8192), at most all',
    )
    parser.add_argument(
        '--fine-tune',
        type=at_least(1),
        metavar='EPOCHS',
        help='with --recalibrate: and after so many epochs of training, per sample',
    )
    parser.add_argument(
        '--lr-factor',
        type=number(0),
        default=0.1,
        help="of the config's learning rate, to fine-tune with (default: %(default)s)",
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='folder of batches.png and batches.json (default: <work_dir>/batch_independence)',
    )
    args = parser.parse_args()
    if args.fine_tune and not args.recalibrate:
        parser.error('--fine-tune: expected with --recalibrate')
    if args.recalibrate and args.float64:
        parser.error('--recalibrate: expected without --float64, training is in float32')
    return args


def test_set(subject: Subject, images: int | None) -> Subset:
    """Evenly spaced samples of the config's test set."""
    dataset: BaseDataset = DATASETS.build(subject.cfg.test_dataloader.dataset)
    count = min(images or len(dataset), len(dataset))
    return Subset(dataset, [i * len(dataset) // count for i in range(count)])


def print_rows(rows: Sequence[BatchRow], title: str) -> None:
    """The table of the batches."""
    table = Table('behaviour', 'order', title=title)
    for column in ('batch', 'top-1, %', 'changed', 'largest', 'mean difference'):
        table.add_column(column, justify='right')
    for row in rows:
        table.add_row(
            row.behaviour,
            row.order,
            str(row.batch_size),
            f'{row.accuracy:.2f}',
            str(row.changed),
            f'{row.largest:.2e}',
            f'{row.mean:.2e}',
        )
    Console(width=100).print(table)


def print_recovery(recovery: Recovery, target: BatchRow) -> None:
    """The table of what comes back."""
    title = f'per sample; leaky, {target.order}, batch {target.batch_size}: {target.accuracy:.2f} %'
    table = Table('per sample', title=title)
    for column in ('top-1, %', 'of the loss back'):
        table.add_column(column, justify='right')
    for step, accuracy in recovery.steps.items():
        share = recovery.share(step)
        table.add_row(step, f'{accuracy:.2f}', 'no loss' if share is None else f'{share:.0%}')
    Console(width=100).print(table)


def recover_weights(
    args: argparse.Namespace, subject: Subject, dataset: Subset, target: float
) -> Recovery:
    """Estimates and trains with the config's training images and optimizer."""
    cfg = subject.cfg

    def optim_wrapper_of(network: nn.Module) -> OptimWrapper:
        settings = cfg.optim_wrapper.copy()
        settings.optimizer = dict(settings.optimizer, lr=settings.optimizer.lr * args.lr_factor)
        return build_optim_wrapper(network, settings)

    torch.manual_seed(args.seed)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=args.seed)
    return recover(
        subject.model,
        dataset,
        loader,
        target,
        args.recalibrate,
        args.fine_tune or 0,
        optim_wrapper_of,
    )


def main() -> None:
    args = parse_args()
    subject = open_subject(args)
    if not isinstance(subject.model, ImageClassifier):
        raise ValueError(f'{args.config}: expected a classifier of images')
    out = subject.folder(args.out, 'batch_independence')
    if args.recalibrate:
        if subject.cfg.get('train_dataloader') is None:
            raise ValueError(f'{args.config}: train_dataloader: expected one, to recalibrate on')
        check_data_root(subject.cfg, ('train_dataloader',))
    if args.float64:
        subject.model.double()
    dataset = test_set(subject, args.images)
    workers = subject.cfg.test_dataloader.get('num_workers', 0)
    rows = batch_independence(subject.model, dataset, args.batch_sizes, args.seed, workers)
    title = f'{subject.name}, {len(dataset)} images, {"float64" if args.float64 else "float32"}'
    print_rows(rows, f'{title}; shuffled with seed {args.seed}')
    written = dict(title=title, seed=args.seed, rows=[asdict(row) for row in rows])
    if args.recalibrate:
        leaky = [row for row in rows if row.behaviour == LEAKY and row.order in (ANY, SORTED)]
        target = leaky[-1]
        recovery = recover_weights(args, subject, dataset, target.accuracy)
        print_recovery(recovery, target)
        written['recovery'] = asdict(recovery)
    figure = Figure(figsize=(10, 4), layout='constrained')
    draw_batches(figure, rows)
    figure.suptitle(title)
    save_figure(figure, out / 'batches.png')
    write_atomically(json.dumps(written, indent=1).encode(), out / 'batches.json')
    print(f'files: {out}/batches.png, batches.json')


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
