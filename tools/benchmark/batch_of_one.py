"""Compare images one by one with images in a batch: throughput, spikes that flip, logits.

Sums round differently in batches of different sizes, and a spike near its threshold then flips. A
batch of one is the evaluation that repeats bit for bit, at the throughput that this prints. Without
a checkpoint the weights are random, with norms that let every layer fire; the inputs are random.
"""

import argparse
import copy
import time

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mmqkformer.analysis import awaken, compare_with_batch_of_one
from mmqkformer.checks import at_least
from mmqkformer.engine.checkpoints import check_checkpoint
from mmqkformer.version import check_framework


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of a classifier')
    parser.add_argument('--checkpoint', help='weights; without them random ones')
    parser.add_argument('--batch', type=at_least(1), default=8, help='samples of the batch')
    parser.add_argument(
        '--size', type=at_least(1), nargs='+', default=[32], help='SIZE or HEIGHT WIDTH, in pixels'
    )
    parser.add_argument(
        '--repeats', type=at_least(1), default=5, help='the median of so many is printed'
    )
    args = parser.parse_args()
    if len(args.size) > 2:
        parser.error(f'--size {args.size}: expected SIZE or HEIGHT WIDTH')
    return args


def random_input(backbone: nn.Module, batch: int, size: list[int]) -> Tensor:
    """Images ``[B, C, H, W]`` or, for two channels, event frames ``[B, T, 2, H, W]``."""
    height, width = size[0], size[-1]
    if backbone.in_channels == 2:
        mean = torch.full((batch, backbone.time_steps, 2, height, width), 0.3)
        return torch.poisson(mean)
    return torch.randn(batch, backbone.in_channels, height, width)


def build(args: argparse.Namespace) -> tuple[nn.Module, Tensor]:
    """The model in eval mode and a batch of inputs."""
    cfg = Config.fromfile(args.config)
    scope = cfg.get('default_scope', 'mmpretrain')
    check_framework(scope)
    init_default_scope(scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    x = random_input(model.backbone, args.batch, args.size)
    if args.checkpoint is None:
        return awaken(model, x), x
    checkpoint = check_checkpoint(model, args.checkpoint)
    model.load_state_dict(checkpoint['state_dict'])
    return model.eval(), x


def images_per_second(model: nn.Module, x: Tensor, repeats: int) -> tuple[float, float]:
    """Medians for images one by one and for the batch; the two take turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    with torch.no_grad():
        model(x)
        for _ in range(repeats):
            for batches, times in zip((x.split(1), (x,)), seconds):
                begin = time.perf_counter()
                for batch in batches:
                    model(batch)
                times.append(time.perf_counter() - begin)
    alone, together = (len(x) / float(torch.tensor(times).median()) for times in seconds)
    return alone, together


def main() -> None:
    args = parse_args()
    model, x = build(args)
    alone, together = images_per_second(model, x, args.repeats)
    print(f'images per second: {alone:.2f} one by one, {together:.2f} in a batch of {args.batch}')
    print(f'cost of a batch of one: {together / alone:.2f} x the time')
    size = ' x '.join(map(str, x.shape[1:]))
    title = f'{args.batch} inputs of {size}, {torch.get_num_threads()} threads'
    table = Table('type', 'spikes', 'flips', 'logits differ by', 'of the largest', title=title)
    for dtype in (torch.float32, torch.float64):
        difference = compare_with_batch_of_one(copy.deepcopy(model).to(dtype), x.to(dtype))
        table.add_row(
            str(dtype).removeprefix('torch.'),
            f'{difference.spikes:,}',
            f'{difference.flips:,}',
            f'{difference.logits:.2e}',
            f'{difference.logits / difference.largest_logit:.2%}',
        )
    Console(width=100).print(table)


if __name__ == '__main__':
    main()
