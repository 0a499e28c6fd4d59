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
import json
import multiprocessing
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import torch
from mmengine.registry import MODELS
from rich.console import Console
from rich.progress import track
from rich.table import Table

import mmqkformer  # noqa: F401 - registers the networks
from mmqkformer.analysis import LiveBytes, saved_bytes
from mmqkformer.analysis.saved_bytes import KINDS
from mmqkformer.checks import at_least
from mmqkformer.files import written_whole

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
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--json', type=Path, help='file to write the measurements to')
    args = parser.parse_args()
    # What the others are compared with
    args.variants = ['None', *(name for name in args.variants if name != 'None')]
    return args


def build(args: argparse.Namespace, variant: str) -> tuple[torch.nn.Module, Callable]:
    """A network, and what makes its loss."""
    torch.manual_seed(0)
    cfg = dict(type='QKFormer', arch=args.arch, time_steps=args.time_steps, **VARIANTS[variant])
    model = MODELS.build(cfg).to(args.device).train()
    images = torch.randn(args.batch, 3, args.size, args.size, device=args.device)
    device = torch.device(args.device).type
    amp = dict(dtype=getattr(torch, args.amp or 'float32'), enabled=args.amp is not None)

    def loss() -> torch.Tensor:
        with torch.autocast(device, **amp):
            (rates,) = model(images)
        return rates.float().square().sum()

    return model, loss


def serve(connection: Connection, args: argparse.Namespace, variant: str) -> None:
    """A process: seconds of each step that is asked for, then what is kept."""
    cuda = torch.device(args.device).type == 'cuda'
    model, loss = build(args, variant)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    connection.send(None)
    while connection.recv() == 'step':
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        if cuda:
            torch.cuda.synchronize()
        connection.send(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if cuda else counted_peak(step)
    # Last: to count keeps more than a step does
    counted = saved_bytes(model, loss)
    found = dict(neurons=counted.neurons, bytes_per_neuron=counted.per_neuron, peak=peak)
    connection.send(found)


def counted_peak(step: Callable[[], None]) -> int:
    """Bytes of the tensors that a step has alive at once, those inside of operators aside."""
    live = LiveBytes()
    with live:
        step()
    return sum(live.peak.values())


def measure(args: argparse.Namespace) -> dict[str, dict]:
    """Of each variant its bytes, times and peak."""
    context = multiprocessing.get_context('spawn')
    connections, processes = {}, []
    for variant in args.variants:
        connections[variant], theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(theirs, args, variant), daemon=True))
        processes[-1].start()
        theirs.close()
        connections[variant].recv()
    seconds = {variant: [] for variant in args.variants}
    for turn in track(range(args.rounds), description='rounds'):
        # Who comes first changes
        for variant in args.variants if turn % 2 else args.variants[::-1]:
            connections[variant].send('step')
            seconds[variant].append(connections[variant].recv())
    results = {}
    for variant, connection in connections.items():
        connection.send('stop')
        ratios = [own / plain for own, plain in zip(seconds[variant], seconds['None'])]
        results[variant] = dict(**connection.recv(), seconds=seconds[variant], ratios=ratios)
    for process in processes:
        process.join()
    return results


def main() -> None:
    args = parse_args()
    results = measure(args)
    cuda = torch.device(args.device).type == 'cuda'
    device = torch.cuda.get_device_name() if cuda else f'{torch.get_num_threads()} CPU threads'
    versions = {name: version(name) for name in ('torch', 'mmengine', 'spikingjelly')}
    versions['python'] = platform.python_version()
    title = (
        f'{args.arch}, {args.batch} images of {args.size}, T {args.time_steps}, '
        f'{args.amp or "float32"}, {device}, torch {versions["torch"]}'
    )
    table = Table(title=title)
    columns = ('memory', *KINDS, 'all bytes', 'ms', 'ratio', 'spread', 'peak, MiB')
    for column in columns:
        table.add_column(column, justify='left' if column == 'memory' else 'right')
    for variant, found in results.items():
        kinds, ratios = found['bytes_per_neuron'], found['ratios']
        table.add_row(
            variant,
            *(f'{kinds[kind]:.2f}' for kind in KINDS),
            f'{sum(kinds.values()):.2f}',
            f'{1000 * median(found["seconds"]):.0f}',
            f'{median(ratios):.2f}',
            f'{min(ratios):.2f} to {max(ratios):.2f}',
            f'{found["peak"] / 2**20:.0f}',
        )
    Console(width=140).print(table)
    if args.json:
        arguments = {key: value for key, value in vars(args).items() if key != 'json'}
        result = dict(arguments=arguments, device=device, versions=versions, results=results)
        with written_whole(args.json) as partial:
            partial.write_text(json.dumps(result, indent=2))


if __name__ == '__main__':
    main()
