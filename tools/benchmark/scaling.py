"""Time against time steps, tokens and batch, with fitted exponents; and 1 against 2 processes.

Inference of a network, of Q-K token attention and of spiking self attention in both orders of its
products, by themselves. The sizes of one curve take turns in one process. An exponent is the slope
of a line through log time over log size, by least squares over the larger half of the sizes, where
what a call costs whatever its size counts least: 1 is linear. With `--processes` it is the training
step of the network instead: by one process alone, by two that do not exchange anything, which tells
what the machine has for a second one, and by two that average their gradients (DDP, gloo).
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from interleaved import Times, device_name, take_turns, write
from matplotlib.figure import Figure
from mmengine.registry import MODELS
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import mmqkformer  # noqa: F401 - registers the networks
from mmqkformer.analysis import awaken
from mmqkformer.analysis.figures import save_figure
from mmqkformer.checks import at_least

AXES = ('T', 'tokens', 'batch')
ALONE, APART, TOGETHER = 'one process', 'two, apart', 'two, DDP'
ATTENTIONS = {
    'QKTA': dict(type='QKTokenAttention'),
    'SSA, (q k^T) v': dict(type='SpikingSelfAttention', contraction='qk_first'),
    'SSA, q (k^T v)': dict(type='SpikingSelfAttention', contraction='kv_first'),
}


@dataclass
class Curve:
    """Times of one thing against one axis.

    Attributes:
        what (str): The network or an attention.
        axis (str): Of :data:`AXES`.
        sizes (list[int]): T, pixels of the image (or tokens of the attention), or images.
        seconds (list[list[float]]): Of each size, of each round.
        exponent (float): The slope over the larger half.
    """

    what: str
    axis: str
    sizes: list[int]
    seconds: list[list[float]]
    exponent: float


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', default='hst-4-384', help="architecture of 'QKFormer'")
    parser.add_argument('--time-steps', type=at_least(1), nargs='+', default=[1, 2, 4, 8, 12, 16])
    parser.add_argument(
        '--sides',
        type=at_least(32),
        nargs='+',
        default=[32, 40, 48, 64, 80, 96],
        help='of images, pixels',
    )
    parser.add_argument(
        '--token-sides',
        type=at_least(1),
        nargs='+',
        default=[12, 14, 20, 28, 34, 40],
        help='roots of N',
    )
    parser.add_argument('--batch', type=at_least(1), nargs='+', default=[1, 2, 3, 4, 6, 8])
    parser.add_argument('--channels', type=at_least(8), default=256, help='of the attentions')
    parser.add_argument('--heads', type=at_least(1), default=8, help='of the attentions')
    parser.add_argument(
        '--backend', default='torch', help='of the neurons; `auto` may change to another on the way'
    )
    parser.add_argument('--rounds', type=at_least(1), default=7)
    parser.add_argument('--processes', action='store_true', help='1 against 2 processes instead')
    parser.add_argument('--json', type=Path, help='file to write the measurements to')
    parser.add_argument('--figure', type=Path, help='file to draw the chart to')
    args = parser.parse_args()
    for key in ('time_steps', 'sides', 'token_sides', 'batch'):
        sizes = getattr(args, key)
        if not args.processes and (len(sizes) < 3 or sorted(set(sizes)) != sizes):
            name = f'--{key.replace("_", "-")}'
            parser.error(f'{name} {sizes}: expected at least 3 sizes, from small to large')
    if args.channels % args.heads:
        parser.error(f'--heads {args.heads}: expected a divisor of --channels {args.channels}')
    return args


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Slope of log seconds over log sizes, by least squares over the larger half of the sizes.

    Of an odd number of sizes the middle one is in that half.

    Args:
        sizes (Sequence[int]): At least three, from small to large.
        seconds (Sequence[float]): Of each.
    """
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)[0])


def call(model: nn.Module, x: Tensor) -> Callable[[], object]:
    """Inference, as it is timed."""

    @torch.inference_mode()
    def run() -> None:
        model(x)

    return run


def network_call(
    arch: str, neuron: dict, time_steps: int, batch: int, side: int
) -> Callable[[], object]:
    """Inference of a network with random weights, which fires, on images."""
    images = torch.randn(batch, 3, side, side, device=device())
    torch.manual_seed(0)
    model = MODELS.build(dict(type='QKFormer', arch=arch, time_steps=time_steps, neuron=neuron))
    return call(awaken(model.to(device()), images), images)


def attention_call(
    cfg: dict,
    channels: int,
    heads: int,
    neuron: dict,
    time_steps: int,
    batch: int,
    side: int,
) -> Callable[[], object]:
    """Inference of an attention on spikes."""
    args = dict(embed_dims=channels, num_heads=heads, neuron=neuron, norm_cfg=dict(type='BN'))
    spikes = torch.randint(2, (time_steps, batch, channels, side, side), device=device()).float()
    return call(MODELS.build(dict(cfg, **args)).to(device()).eval(), spikes)


def device() -> str:
    """Where everything runs."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def measure(args: argparse.Namespace) -> list[Curve]:
    """All curves, of each thing against each axis: else T 4, one image, of the smallest size."""
    neuron = dict(type='LIFNeuron', backend=args.backend)
    of = {args.arch: partial(network_call, args.arch, neuron)}
    for name, cfg in ATTENTIONS.items():
        of[name] = partial(attention_call, cfg, args.channels, args.heads, neuron)
    curves = []
    for what, make in of.items():
        sides = args.sides if what == args.arch else args.token_sides
        axes = {
            'T': {t: dict(time_steps=t, batch=1, side=sides[0]) for t in args.time_steps},
            'tokens': {s**2: dict(time_steps=4, batch=1, side=s) for s in sides},
            'batch': {b: dict(time_steps=4, batch=b, side=sides[0]) for b in args.batch},
        }
        for axis, variants in axes.items():
            calls = {size: make(**given) for size, given in variants.items()}
            times = take_turns(calls, args.rounds, f'{what}, {axis}', least=0.02)
            slope = exponent(list(times), [one.middle for one in times.values()])
            seconds = [one.seconds for one in times.values()]
            curves.append(Curve(what, axis, list(times), seconds, slope))
    return curves


def draw(curves: Sequence[Curve], title: str, path: Path) -> None:
    """Time over size, a panel for each axis."""
    figure = Figure(figsize=(10, 3.6), layout='constrained')
    for axes, axis in zip(figure.subplots(1, len(AXES)), AXES):
        for curve in (curve for curve in curves if curve.axis == axis):
            milliseconds = [1000 * median(seconds) for seconds in curve.seconds]
            label = f'{curve.what}: {curve.exponent:.2f}'
            axes.plot(curve.sizes, milliseconds, marker='.', label=label)
        axes.set_xscale('log', base=2)
        axes.set(yscale='log', xlabel='pixels or tokens' if axis == 'tokens' else axis)
        axes.legend(fontsize='x-small', title='exponent', title_fontsize='x-small')
    figure.axes[0].set_ylabel('ms')
    figure.suptitle(title, fontsize='small')
    save_figure(figure, path)


def trainer(model: nn.Module, images: Tensor) -> Callable[[], object]:
    """A training step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        (rates,) = model(images)
        rates.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def member(rank: int, args: argparse.Namespace, folder: str, answer: Any) -> None:
    """One of two processes, each with a thread; the first answers with the times."""
    torch.set_num_threads(1)
    meeting = f'file://{folder}/meeting'
    torch.distributed.init_process_group('gloo', init_method=meeting, rank=rank, world_size=2)
    images = torch.randn(args.batch[-1], 3, args.sides[0], args.sides[0])
    build = partial(MODELS.build, dict(type='QKFormer', arch=args.arch, time_steps=4))
    plain = trainer(build().train(), images)
    shared = trainer(DistributedDataParallel(build().train()), images)

    def together(step: Callable[[], object], ranks: Sequence[int] = (0, 1)) -> None:
        if rank in ranks:
            step()
        torch.distributed.barrier()

    calls = {
        ALONE: partial(together, plain, (0,)),
        APART: partial(together, plain),
        TOGETHER: partial(together, shared),
    }
    times = take_turns(calls, args.rounds, f'process {rank}')
    if rank == 0:
        answer.put(times)
    torch.distributed.destroy_process_group()


def two_processes(args: argparse.Namespace) -> dict[str, Times]:
    """Times of a training step by one process, and by two."""
    context = torch.multiprocessing.get_context('spawn')
    answer = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = torch.multiprocessing.spawn(
            member, (args, folder, answer), nprocs=2, join=False
        )
        while not processes.join(timeout=1):
            pass
        return answer.get()


def report_processes(args: argparse.Namespace) -> None:
    """Prints, writes and draws what :func:`two_processes` measured."""
    times = two_processes(args)
    batch = args.batch[-1]
    title = (
        f'{args.arch}, {args.sides[0]} px, training step, {batch} images a process; 1 CPU thread '
        f'a process, torch {torch.__version__}'
    )
    table = Table(title=title)
    for column in ('', 'ms', 'images/s', 'efficiency', 'spread'):
        table.add_column(column, justify='right' if column else 'left')
    rates = {}
    for name, one in times.items():
        images = batch * (1 if name == ALONE else 2)
        ratios = one.ratios(times[ALONE])
        rates[name] = images / one.middle
        table.add_row(
            name,
            f'{1000 * one.middle:.0f}',
            f'{rates[name]:.1f}',
            f'{median(ratios):.2f}',
            f'{min(ratios):.2f} to {max(ratios):.2f}',
        )
    Console(width=120).print(table)
    write(args.json, title, {name: asdict(one) for name, one in times.items()})
    if args.figure is not None:
        figure = Figure(figsize=(5, 3), layout='constrained')
        axes = figure.subplots()
        axes.bar(list(rates), list(rates.values()))
        axes.set_ylabel('images/s')
        axes.set_title(title, fontsize='xx-small')
        save_figure(figure, args.figure)


def main() -> None:
    args = parse_args()
    if args.processes:
        report_processes(args)
        return
    curves = measure(args)
    title = (
        f'inference, {args.arch} and attentions of {args.channels} channels and {args.heads} '
        f'heads, neurons {args.backend}; {device_name()}, torch {torch.__version__}'
    )
    table = Table(title=title)
    for column in ('', 'against', 'sizes', 'ms', 'exponent'):
        table.add_column(column, justify='right' if column == 'exponent' else 'left')
    for curve in curves:
        table.add_row(
            curve.what,
            curve.axis,
            ', '.join(map(str, curve.sizes)),
            ', '.join(f'{1000 * median(seconds):.1f}' for seconds in curve.seconds),
            f'{curve.exponent:.2f}',
        )
    Console(width=140).print(table)
    write(args.json, title, [asdict(curve) for curve in curves])
    if args.figure is not None:
        draw(curves, title, args.figure)


if __name__ == '__main__':
    main()
