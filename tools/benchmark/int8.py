"""Time the convolutions of a network of quantised weights in float32, bfloat16 and int8.

The network is built from its config, and its neurons fire by chance, 0 to 4 spikes each, so that
layers behind a neuron see multiples of one spike. Those can be computed in int8: the weights are
their codes, the inputs the numbers of spikes, sums are whole numbers of 32 bits, and one factor a
channel comes last, which makes them exact. Layers behind another convolution or a norm take real
numbers and stay float32. `packed` has weights laid out in advance for oneDNN, as int8 has: without
it, each call does that. `conversion` makes bytes of float32 spikes.

With `--whole` the network itself is timed instead, on images: as it is (`quantised`), with the
quantised weights as float32 ones (`dequantised`), these with their norms and RepConvs folded
(`fused`), and by `mmqkformer.deploy.to_int8`.
"""

import argparse
import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from interleaved import Times, cpu_name, take_turns, write
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from mmqkformer.analysis import awaken
from mmqkformer.checks import at_least
from mmqkformer.deploy import fuse, spike_flips, to_int8
from mmqkformer.layers.quant import QuantisedLayer, codes, dequantise, quantised_layers
from mmqkformer.neurons import MultiSpikeNeuron
from mmqkformer.version import check_framework

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'qsd' / 'qsd-s_8xb196_in1k.py'
INT8, CONVERSION, WITH_CONVERSION = 'int8', 'conversion', 'int8 with conversion'
FORMS = ('quantised', 'dequantised', 'fused', INT8)
FLOATS = ('float32', 'float32, packed', 'bfloat16', 'bfloat16, packed')


@dataclass(frozen=True)
class Shape:
    """A convolution; a linear layer is one of 1 x 1 pixels.

    Attributes:
        input (tuple[int, ...]): ``[B, C, H, W]``.
        weight (tuple[int, ...]): ``[out, in, height, width]``.
        stride (tuple[int, int]): Of the rows and columns.
        padding (tuple[int, int]): Likewise.
        groups (int): Of the channels.
        spikes (bool): Whether it takes multiples of a spike.
    """

    input: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int
    spikes: bool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', type=Path, default=CONFIG)
    parser.add_argument('--batch', type=at_least(1), nargs='+', default=[1])
    parser.add_argument('--size', type=at_least(1), default=224, help='pixels of a side')
    parser.add_argument('--whole', action='store_true', help='time whole networks')
    parser.add_argument('--rounds', type=at_least(1), default=5)
    parser.add_argument(
        '--milliseconds', type=at_least(0), default=5, help='of a round, at least, of each'
    )
    parser.add_argument('--json', type=Path, help='file to write the measurements to')
    return parser.parse_args()


def _shape(layer: QuantisedLayer, x: Tensor, levels: int) -> Shape:
    counts = levels * x
    return Shape(
        input=tuple(x.shape) + (1,) * (4 - x.dim()),
        weight=tuple(layer.weight.shape) + (1,) * (4 - layer.weight.dim()),
        stride=getattr(layer, 'stride', (1, 1)),
        padding=getattr(layer, 'padding', (0, 0)),
        groups=getattr(layer, 'groups', 1),
        spikes=bool(((counts == counts.round()) & (counts >= 0) & (counts < 256)).all()),
    )


@torch.no_grad()
def shapes_of(model: nn.Module, image: Tensor) -> Counter[Shape]:
    """How often a network has each convolution.

    Args:
        model (nn.Module): A network with quantised layers and ``MultiSpikeNeuron``.
        image (Tensor): ``[B, 3, H, W]``.

    Returns:
        Counter[Shape]: The number of layers by their shape.
    """
    neurons = [module for module in model.modules() if isinstance(module, MultiSpikeNeuron)]
    (levels,) = {neuron.levels for neuron in neurons}
    found: Counter[Shape] = Counter()

    def note(layer: nn.Module, inputs: tuple) -> None:
        found[_shape(layer, inputs[0], levels)] += 1

    def fire(neuron: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        # With weights by chance the deep layers would be silent, and silence tells no spikes
        return torch.randint_like(output, levels + 1) / levels

    handles = [neuron.register_forward_hook(fire) for neuron in neurons]
    layers = quantised_layers(model).values()
    handles += [layer.register_forward_pre_hook(note) for layer in layers]
    model.eval()(image)
    for handle in handles:
        handle.remove()
    return found


def contestants(shape: Shape) -> tuple[dict[str, Callable[[], Tensor]], Tensor]:
    """Ways to compute one convolution, by name, and its sums in float64.

    int8 is only among them where the layer takes spikes. The conversion is a contestant.
    """
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape.weight, generator=generator)
    step = 2 * weight.abs().mean(dim=(1, 2, 3)) / 7**0.5
    code = codes(weight, step, 4)
    spikes = torch.randint(0, 5, shape.input, generator=generator)
    last = dict(memory_format=torch.channels_last)
    x = spikes.float().contiguous(**last)
    place = dict(stride=shape.stride, padding=shape.padding, groups=shape.groups)
    packed = (shape.padding, shape.stride, (1, 1), shape.groups)
    ways: dict[str, Callable[[], Tensor]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix('torch.')
        inputs, kernel = x.to(dtype), code.to(dtype).contiguous(**last)
        laid = torch.ops.mkldnn._reorder_convolution_weight(code.to(dtype), *packed, shape.input)
        ways[name] = lambda i=inputs, k=kernel: F.conv2d(i, k, **place)
        ways[f'{name}, packed'] = lambda i=inputs, k=laid: torch.ops.mkldnn._convolution_pointwise(
            i, k, None, *packed, 'none', [], ''
        )
    if shape.spikes:
        bytes_of = x.to(torch.uint8)
        # Scales of 1: the sums themselves, in which a wrong one would show
        ones, zeros = torch.ones(len(code)), torch.zeros(len(code), dtype=torch.int)
        where = (shape.stride, shape.padding, (1, 1), shape.groups)
        laid = torch.ops.onednn.qconv_prepack(code, ones, 1.0, 0, *where, list(shape.input))
        ways[INT8] = lambda: torch.ops.onednn.qconv_pointwise(
            *(bytes_of, 1.0, 0, laid, ones, zeros, None, *where),
            *(1.0, 0, torch.float32, 'none', [], ''),
        )
        ways[CONVERSION] = lambda: x.to(torch.uint8)
    return ways, F.conv2d(spikes.double(), code.double(), **place)


def measure(shapes: Counter[Shape], args: argparse.Namespace) -> list[dict]:
    """Times each shape, and compares the sums with those of float64."""
    rows = []
    for i, (shape, layers) in enumerate(shapes.items()):
        ways, exact = contestants(shape)
        off = {
            name: float((way() - exact).abs().max())
            for name, way in ways.items()
            if name != CONVERSION
        }
        times = take_turns(ways, args.rounds, f'{i + 1} of {len(shapes)}', args.milliseconds / 1000)
        seconds = {name: one.seconds for name, one in times.items()}
        row = dict(kind=kind_of(shape), layers=layers, off=off, seconds=seconds)
        rows.append(dict(row, shape=asdict(shape)))
    return rows


def kind_of(shape: Shape) -> str:
    """What a row of the table has in common."""
    kernel = 'depthwise' if shape.groups > 1 else 'x'.join(map(str, shape.weight[2:]))
    return f'{"spikes" if shape.spikes else "real numbers"}, {kernel}'


def total(rows: Sequence[dict], name: str) -> list[float]:
    """Seconds of all layers in each round; of those without int8, in float32 with packed weights.

    Args:
        rows (Sequence[dict]): What :func:`measure` found.
        name (str): A contestant, or `with conversion`.
    """
    parts = {WITH_CONVERSION: (INT8, CONVERSION)}.get(name, (name,))
    sums = []
    for turn in range(len(rows[0]['seconds'][FLOATS[0]])):
        sums.append(0.0)
        for row in rows:
            known = parts if INT8 in row['seconds'] or name in FLOATS else (FLOATS[1],)
            sums[-1] += row['layers'] * sum(row['seconds'][part][turn] for part in known)
    return sums


def show(title: str, rows: Sequence[dict]) -> None:
    """Prints a row for each kind of layer, one for all, and ratios to float32."""
    names = (*FLOATS, INT8, WITH_CONVERSION)
    table = Table(title=title)
    for column in ('', 'layers', *names):
        table.add_column(column, justify='right' if column else 'left')
    kinds = sorted({row['kind'] for row in rows}, reverse=True)
    for kind in kinds:
        among = [row for row in rows if row['kind'] == kind]
        known = [n for n in names if n in FLOATS or INT8 in among[0]['seconds']]
        cells = [f'{1000 * median(total(among, n)):.2f}' if n in known else '-' for n in names]
        table.add_row(kind, str(sum(row['layers'] for row in among)), *cells)
    table.add_section()
    sums = {name: total(rows, name) for name in names}
    layers = str(sum(row['layers'] for row in rows))
    table.add_row('all, ms', layers, *(f'{1000 * median(sums[name]):.2f}' for name in names))
    for name in FLOATS[:2]:
        ratios = [[a / b for a, b in zip(sums[name], sums[n], strict=True)] for n in names]
        table.add_row(f'x {name}', '', *(f'{median(one):.2f}' for one in ratios))
        table.add_row('spread', '', *(f'{min(one):.2f} to {max(one):.2f}' for one in ratios))
    off = [max(row['off'].get(name, 0) for row in rows) for name in (*FLOATS, INT8)]
    table.add_row('sums off by', '', *(f'{most:g}' for most in off), '')
    Console(width=160).print(table)


def forms_of(model: nn.Module, image: Tensor) -> dict[str, nn.Module]:
    """The forms of a network that are compared, by name.

    Args:
        model (nn.Module): A network with quantised layers; its norms are set so that it fires.
        image (Tensor): ``[B, 3, H, W]``.
    """
    awaken(model, image)
    plain = copy.deepcopy(model)
    dequantise(plain)
    int8, _ = to_int8(model, lambda network: network(image[:1]))
    return dict(zip(FORMS, (model, plain, fuse(plain), int8), strict=True))


@torch.inference_mode()
def measure_forms(forms: dict[str, nn.Module], image: Tensor, args: argparse.Namespace) -> dict:
    """Times of the forms on images ``[B, 3, H, W]`` in turns, in one process."""
    calls = {name: lambda network=network: network(image) for name, network in forms.items()}
    return take_turns(calls, args.rounds, f'batch {len(image)}', args.milliseconds / 1000)


def show_forms(title: str, times: dict[str, Times]) -> None:
    """Prints a row for each form, with ratios to those in float32."""
    table = Table(title=title)
    against = FORMS[:3]
    columns = [column for name in against for column in (f'x {name}', 'spread')]
    for column in ('', 'ms', *columns):
        table.add_column(column, justify='right' if column else 'left')
    for name, one in times.items():
        cells = [f'{1000 * one.middle:.1f}']
        for other in against:
            ratios = one.ratios(times[other])
            cells += [f'{median(ratios):.2f}', f'{min(ratios):.2f} to {max(ratios):.2f}']
        table.add_row(name, *cells)
    Console(width=160).print(table)


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    scope = cfg.get('default_scope', 'mmengine')
    check_framework(scope)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg.model)
    images = {batch: torch.randn(batch, 3, args.size, args.size) for batch in args.batch}
    results = {}
    if args.whole:
        image = images[args.batch[0]]
        forms = forms_of(model, image)
        for name in FORMS[1:]:
            print(f'{name}: {spike_flips(model, forms[name], lambda network: network(image))}')
    for batch, image in images.items():
        title = f'{args.config.stem}, batch {batch}; {cpu_name()}, torch {torch.__version__}'
        if args.whole:
            times = measure_forms(forms, image, args)
            show_forms(title, times)
            results[batch] = {name: asdict(one) for name, one in times.items()}
        else:
            results[batch] = measure(shapes_of(model, image), args)
            show(title, results[batch])
    write(args.json, args.config.stem, results, cpu_name())


if __name__ == '__main__':
    main()
