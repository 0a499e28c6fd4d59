"""Count what a training step keeps for its backward pass, and time it, for each ``memory``.

The same network with ``memory=None``, ``'packed'`` and ``'recompute'``, and with SpikingJelly's
neurons, each in a process of its own on the same weights and images. They take turns, step by
step, so that what disturbs the machine disturbs all. Printed are bytes per neuron and step by what
keeps them (saved-tensor hooks; every storage once, the parameters aside), milliseconds a step, the
median of the ratios to ``memory=None`` within a round with their spread (above 1: slower), and the
peak of the memory: on a GPU what PyTorch has allocated, on a CPU all tensors that were alive at
once, counted.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median

import torch
from interleaved import device_name, race, write
from mmengine.registry import MODELS
from rich.console import Console
from rich.table import Table

import mmqkformer  # noqa: F401 - registers the networks
from mmqkformer.analysis import LiveBytes, saved_bytes
from mmqkformer.analysis.saved_bytes import KINDS
from mmqkformer.checks import at_least

VARIANTS = {
    'None': dict(),
    'packed': dict(memory='packed'),
    'recompute': dict(memory='recompute'),
    'spikingjelly': dict(neuron=dict(type='LIFNeuron', tau=2.0, backend='spikingjelly')),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', default='hst-4-384', help="architecture of 'QKFormer'")
    parser.add_argument('--batch', type=at_least(1), default=16)
    parser.add_argument('--size', type=at_least(16), default=32, help='pixels of a side')
    parser.add_argument('--time-steps', type=at_least(1), default=4)
    parser.add_argument('--rounds', type=at_least(1), default=7)
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument(
        '--amp', choices=('float16', 'bfloat16'), help='mixed precision; by default float32'
    )
    parser.add_argument('--json', type=Path, help='file to write the measurements to')
    args = parser.parse_args()
    # What the others are compared with
    args.variants = ['None', *(name for name in args.variants if name != 'None')]
    return args


def make(args: argparse.Namespace, variant: str) -> tuple[Callable, Callable[[], dict]]:
    """Builds a network: its training step, and what tells of the bytes that it keeps."""
    torch.manual_seed(0)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    cfg = dict(type='QKFormer', arch=args.arch, time_steps=args.time_steps, **VARIANTS[variant])
    model = MODELS.build(cfg).to(device).train()
    images = torch.randn(args.batch, 3, args.size, args.size, device=device)
    amp = dict(dtype=getattr(torch, args.amp or 'float32'), enabled=args.amp is not None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def loss() -> torch.Tensor:
        with torch.autocast(device, **amp):
            (rates,) = model(images)
        return rates.float().square().sum()

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    def facts() -> dict:
        live = LiveBytes()
        if device == 'cpu':
            with live:
                step()
        counted = saved_bytes(model, loss)
        return dict(
            neurons=counted.neurons,
            bytes_per_neuron=counted.per_neuron,
            # Without what is alive inside of operators
            counted_peak=sum(live.peak.values()),
        )

    return step, facts


def main() -> None:
    args = parse_args()
    contestants = {variant: partial(make, args, variant) for variant in args.variants}
    results = race(contestants, args.rounds, 'rounds')
    title = (
        f'{args.arch}, {args.batch} images of {args.size}, T {args.time_steps}, '
        f'{args.amp or "float32"}'
    )
    table = Table(title=f'{title}; {device_name()}, torch {torch.__version__}')
    columns = ('memory', *KINDS, 'all bytes', 'ms', 'ratio', 'spread', 'peak, MiB')
    for column in columns:
        table.add_column(column, justify='left' if column == 'memory' else 'right')
    for variant, times in results.items():
        kinds, ratios = times.facts['bytes_per_neuron'], results['None'].ratios(times)
        table.add_row(
            variant,
            *(f'{kinds[kind]:.2f}' for kind in KINDS),
            f'{sum(kinds.values()):.2f}',
            f'{1000 * times.middle:.0f}',
            f'{median(ratios):.2f}',
            f'{min(ratios):.2f} to {max(ratios):.2f}',
            f'{(times.facts["counted_peak"] or times.peak) / 2**20:.0f}',
        )
    Console(width=140).print(table)
    write(args.json, title, {variant: asdict(times) for variant, times in results.items()})


if __name__ == '__main__':
    main()
