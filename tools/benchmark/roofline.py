"""Where the layers of a network stand against the machine's copy bandwidth and product rate.

The rates are measured: a copy of a large tensor, and products of square matrices. Of an inference
the time of each kind of layer is what its modules take without the modules in them, by hooks.
Counted are operations and the least traffic. Operations: of convolutions and products of matrices 2
a multiply-accumulate (PyTorch's count), of any other operator one for each element that it returns,
as the reference of the neurons has them. Traffic: of convolution, norm, pool and neuron the input,
the output and the parameters once; of the rest what each of its operators reads and writes. `roof`
is the time that this takes at the measured rates, whichever is longer, and `of roof` its share of
what was measured: at 1 no implementation is faster, but for what is still in a cache.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from interleaved import device_name, synchronize, take_turns, write
from matplotlib.figure import Figure
from mmengine.registry import MODELS
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

import mmqkformer  # noqa: F401 - registers the networks
from mmqkformer.analysis import awaken
from mmqkformer.analysis.figures import save_figure
from mmqkformer.checks import at_least
from mmqkformer.neurons import SpikingNeuron

# Whole modules, whose traffic is known from outside
LAYERS = {
    'neuron': (SpikingNeuron,),
    'convolution': (_ConvNd, nn.Linear),
    'norm': (_NormBase, nn.LayerNorm),
    'pool': (_MaxPoolNd, _AvgPoolNd),
}
ATTENTION, OTHER = 'attention', 'other'


@dataclass
class Kind:
    """What the layers of one kind take in an inference.

    Attributes:
        seconds (float): The median over the rounds.
        operations (int): See the module.
        traffic (int): Bytes, least.
    """

    seconds: float = 0.0
    operations: int = 0
    traffic: int = 0

    def roof(self, bandwidth: float, rate: float) -> float:
        """Seconds at least, at bytes and operations a second."""
        return max(self.traffic / bandwidth, self.operations / rate)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', default='hst-10-384', help="architecture of 'QKFormer'")
    parser.add_argument('--batch', type=at_least(1), default=1)
    parser.add_argument('--size', type=at_least(16), default=224, help='pixels of a side')
    parser.add_argument('--time-steps', type=at_least(1), default=4)
    parser.add_argument('--backend', default='auto', help='of the neurons')
    parser.add_argument('--rounds', type=at_least(1), default=10)
    parser.add_argument('--copied', type=at_least(1), default=256, help='MiB of the copied tensor')
    parser.add_argument('--side', type=at_least(1), default=2048, help='of the multiplied matrices')
    parser.add_argument('--json', type=Path, help='file to write the measurements to')
    parser.add_argument('--figure', type=Path, help='file to draw the chart to')
    return parser.parse_args()


def kind_of(module: nn.Module) -> str:
    """Name of the kind of a module's own operators."""
    for kind, types in LAYERS.items():
        if isinstance(module, types):
            return kind
    inside = type(module).__module__.startswith('mmqkformer.layers.attention')
    return ATTENTION if inside else OTHER


def touched(x: Tensor) -> int:
    """Bytes of memory that a tensor lies in; what is expanded counts once."""
    elements = 1
    for size, stride in zip(x.shape, x.stride()):
        elements *= size if stride else min(size, 1)
    return elements * x.element_size()


@contextmanager
def entered(
    model: nn.Module, enter: Callable[[nn.Module], None], leave: Callable[..., None]
) -> Iterator[None]:
    """Calls ``enter(module)`` and ``leave(module, args, output)`` around every module."""
    with ExitStack() as hooks:
        for module in model.modules():
            before = module.register_forward_pre_hook(lambda module, args: enter(module))
            hooks.callback(before.remove)
            hooks.callback(module.register_forward_hook(leave).remove)
        yield


class Clock:
    """Seconds of each kind of module, without those of the modules inside."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running: list[str] = [OTHER]
        self._last = time.perf_counter()

    def lap(self) -> None:
        """Gives the time since the last call to what runs."""
        synchronize()
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._last
        self._last = now

    def enter(self, module: nn.Module) -> None:
        """A module begins."""
        self.lap()
        # What is inside of a layer is the layer's
        outer = self._running[-1]
        self._running.append(outer if outer in LAYERS else kind_of(module))

    def leave(self, *_: object) -> None:
        """A module ends."""
        self.lap()
        self._running.pop()


class Counter(TorchDispatchMode):
    """Operations and least traffic of each kind of module."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: defaultdict[str, Kind] = defaultdict(Kind)
        self._running: list[str] = [OTHER]

    def enter(self, module: nn.Module) -> None:
        """A module begins."""
        outer = self._running[-1]
        self._running.append(outer if outer in LAYERS else kind_of(module))

    def leave(self, module: nn.Module, args: tuple, output: object) -> None:
        """A module ends: a whole layer reads and writes what is passed through it."""
        kind = self._running.pop()
        if kind in LAYERS and self._running[-1] not in LAYERS:
            tensors = [x for x in tree_leaves((args, output)) if isinstance(x, Tensor)]
            self.kinds[kind].traffic += sum(map(touched, [*tensors, *module.parameters()]))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.is_view:
            return result
        kind = self.kinds[self._running[-1]]
        written = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        packet = func.overloadpacket
        if packet in flop_registry:
            kind.operations += flop_registry[packet](*args, **(kwargs or {}), out_val=result)
        else:
            kind.operations += sum(x.numel() for x in written)
        if self._running[-1] not in LAYERS:
            read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
            kind.traffic += sum(map(touched, [*read, *written]))
        return result


@torch.no_grad()
def count(model: nn.Module, images: Tensor) -> dict[str, Kind]:
    """Operations and least traffic of an inference, with the neurons' reference."""
    neurons = [module for module in model.modules() if hasattr(module, 'backend')]
    backends = [neuron.backend for neuron in neurons]
    for neuron in neurons:
        neuron.backend = 'torch'
    counter = Counter()
    with entered(model, counter.enter, counter.leave), counter:
        model(images)
    for neuron, backend in zip(neurons, backends):
        neuron.backend = backend
    return dict(counter.kinds)


@torch.inference_mode()
def seconds_of(model: nn.Module, images: Tensor, rounds: int) -> dict[str, float]:
    """Medians of each kind, of all rounds but two that warm up."""
    clocks = []
    for _ in track(range(rounds + 2), description='layers'):
        clock = Clock()
        with entered(model, clock.enter, clock.leave):
            model(images)
        clock.lap()
        clocks.append(clock.seconds)
    kinds = dict.fromkeys(kind for seconds in clocks for kind in seconds)
    return {
        kind: torch.tensor([seconds[kind] for seconds in clocks[2:]]).median().item()
        for kind in kinds
    }


def machine(mebibytes: int, side: int, rounds: int) -> tuple[float, float]:
    """Bytes a second of a copy, read and written, and operations a second of a product."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    source = torch.ones(mebibytes * 2**18, device=device)
    target = torch.empty_like(source)
    matrix = torch.randn(side, side, device=device)
    calls = dict(copy=lambda: target.copy_(source), product=lambda: matrix @ matrix)
    times = take_turns(calls, rounds, 'machine', least=0.02)
    bandwidth = 2 * source.numel() * 4 / times['copy'].middle
    return bandwidth, 2 * side**3 / times['product'].middle


def draw(kinds: dict[str, Kind], bandwidth: float, rate: float, title: str, path: Path) -> None:
    """Operations a second over operations a byte, below the roof."""
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    intensities = [kind.operations / kind.traffic for kind in kinds.values() if kind.operations]
    ridge = rate / bandwidth
    low, high = min(*intensities, ridge) / 3, max(*intensities, ridge) * 3
    roof = [low * bandwidth / 1e9, rate / 1e9, rate / 1e9]
    axes.plot([low, ridge, high], roof, color='black', label='measured roof')
    for name, kind in kinds.items():
        if kind.operations:
            place = kind.operations / kind.traffic, kind.operations / kind.seconds / 1e9
            axes.plot(*place, 'o', label=f'{name}, {1000 * kind.seconds:.1f} ms')
    axes.set(
        xscale='log', yscale='log', xlabel='operations a byte', ylabel='1e9 operations a second'
    )
    axes.legend(fontsize='small')
    axes.set_title(title, fontsize='x-small')
    save_figure(figure, path)


def main() -> None:
    args = parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.manual_seed(0)
    cfg = dict(
        type='QKFormer',
        arch=args.arch,
        time_steps=args.time_steps,
        neuron=dict(type='LIFNeuron', backend=args.backend),
    )
    images = torch.randn(args.batch, 3, args.size, args.size, device=device)
    model = awaken(MODELS.build(cfg).to(device), images)
    bandwidth, rate = machine(args.copied, args.side, args.rounds)
    kinds = count(model, images)
    for name, seconds in seconds_of(model, images, args.rounds).items():
        kinds.setdefault(name, Kind()).seconds = seconds
    total = sum(kind.seconds for kind in kinds.values())
    kinds = dict(sorted(kinds.items(), key=lambda item: -item[1].seconds))
    title = (
        f'{args.arch}, {args.size} px, batch {args.batch}, T {args.time_steps}, neurons '
        f'{args.backend}; {device_name()}, torch {torch.__version__}'
    )
    table = Table(title=title)
    columns = ('', 'ms', 'share', 'G operations', 'MB', 'G op/s', 'GB/s', 'roof, ms', 'of roof')
    for column in columns:
        table.add_column(column, justify='right' if column else 'left')
    for name, kind in kinds.items():
        roof = kind.roof(bandwidth, rate)
        table.add_row(
            name,
            f'{1000 * kind.seconds:.2f}',
            f'{kind.seconds / total:.0%}',
            f'{kind.operations / 1e9:.3f}',
            f'{kind.traffic / 1e6:.1f}',
            f'{kind.operations / kind.seconds / 1e9:.1f}',
            f'{kind.traffic / kind.seconds / 1e9:.1f}',
            f'{1000 * roof:.2f}',
            f'{roof / kind.seconds:.2f}',
        )
    Console(width=120).print(table)
    print(f'copy {bandwidth / 1e9:.1f} GB/s, product {rate / 1e9:.1f} G operations/s, float32')
    write(
        args.json,
        title,
        dict(
            bandwidth=bandwidth,
            rate=rate,
            kinds={name: asdict(kind) for name, kind in kinds.items()},
        ),
    )
    if args.figure is not None:
        draw(kinds, bandwidth, rate, title, args.figure)


if __name__ == '__main__':
    main()
