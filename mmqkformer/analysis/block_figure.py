"""Draws what the blocks and embeddings of a backbone are made of, from the modules that run."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from torch import Tensor, nn

from ..layers import RunningRate
from ..neurons import SpikingNeuron

# Inches, which are the coordinates of everything drawn
LINE, PAD, GAP, BOX, STREAM = 0.17, 0.14, 0.24, 1.42, 0.75
COLOURS = dict(conv='#d7e8f7', neuron='#fde3c8')
SIGNS = {'add': '+', 'membrane': '+', 'and': 'AND', 'iand': 'IAND'}


@dataclass(frozen=True)
class Unit:
    """A module of a chain: its name, and its layers in the order in which they run."""

    name: str
    layers: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Chain:
    """Units one behind the other; those of a level have the same input.

    Attributes:
        levels (tuple[tuple[Unit, ...], ...]): The units.
        shortcuts (tuple[tuple[int, Unit], ...]): Units that run beside the levels from one on to
            the last, and are joined to it; of an identity without layers.
        residual (str): How the chain joins the stream: ``add``, ``membrane``, ``and`` or
            ``iand``; empty where it is the stream.
        join (str): How the shortcuts join it: ``add``, ``and`` or ``iand``.
    """

    levels: tuple[tuple[Unit, ...], ...]
    shortcuts: tuple[tuple[int, Unit], ...] = ()
    residual: str = ''
    join: str = 'add'


@torch.no_grad()
def chains_of(backbone: nn.Module, side: int = 32) -> dict[tuple[Chain, ...], list[str]]:
    """The embeddings and blocks of a backbone, as chains of units.

    Args:
        backbone (nn.Module): A :class:`~mmqkformer.models.SpikingBackbone`.
        side (int): Side of the square image, of zeros, that is run to see them, at least the total
            stride. Defaults to 32.

    Returns:
        dict[tuple[Chain, ...], list[str]]: By what it is made of, where it is: ``embedding 1`` or
        ``block of stage 3``. What is alike in all but its channels is there once.
    """
    training = backbone.training
    calls: list[tuple[nn.Module, Tensor]] = []

    def called(module: nn.Module, args: tuple) -> None:
        calls.append((module, args[0]))

    hooks = [module.register_forward_pre_hook(called) for module in backbone.modules()]
    try:
        side = max(side, backbone.strides[-1])
        backbone.eval()(torch.zeros(1, backbone.in_channels, side, side))
    finally:
        backbone.train(training)
        for hook in hooks:
            hook.remove()
    found: dict[tuple[Chain, ...], list[str]] = {}
    for i, stage in enumerate(backbone.stages, start=1):
        parts = {f'embedding {i}': (_chain(stage.embed, calls),)}
        if stage.blocks:
            block = stage.blocks[0]
            parts[f'block of stage {i}'] = tuple(
                _branch(block, name, calls) for name in block.residuals
            )
        for name, chains in parts.items():
            found.setdefault(chains, []).append(name)
    return found


def _chain(branch: nn.Module, calls: list[tuple[nn.Module, Tensor]]) -> Chain:
    names = {module: name for name, module in branch.named_modules()}
    levels: list[list[Unit]] = []
    inputs: list[Tensor] = []
    shortcuts: list[tuple[int, Unit]] = []
    outer = ''
    for module, x in calls:
        name = names.get(module)
        # A list is not called: its entries are. Neither is what a unit is made of a unit
        if not name or (outer and name.startswith(f'{outer}.')):
            continue
        outer = name
        layers = tuple(filter(None, (_label(m) for m in _leaves(module, calls))))
        # Units of a list have numbers for names
        unit = Unit('' if name[-1].isdigit() else name, layers, _kind(module))
        start = next((i for i, entered in enumerate(inputs) if entered is x), None)
        if name == 'shortcut' and start is not None:
            shortcuts.append((start, unit))
        elif not layers:
            continue
        elif start is not None and start == len(levels) - 1:
            levels[-1].append(unit)
        else:
            levels.append([unit])
            inputs.append(x)
    join = getattr(branch, 'join', 'add')
    return Chain(tuple(map(tuple, levels)), tuple(shortcuts), join=join)


def _branch(block: nn.Module, name: str, calls: list[tuple[nn.Module, Tensor]]) -> Chain:
    """A residual branch with its neuron and layer scale."""
    levels = list(_chain(getattr(block, name), calls).levels)
    neuron = (Unit('', (_label(getattr(block, f'{name}_neuron')),), 'neuron'),)
    levels.insert(0 if block.residuals[name] == 'membrane' else len(levels), neuron)
    if getattr(block, f'{name}_scale') is not None:
        levels.append((Unit('', ('layer scale',), 'conv'),))
    return Chain(tuple(levels), (), block.residuals[name])


def _leaves(module: nn.Module, calls: list[tuple[nn.Module, Tensor]]) -> Iterator[nn.Module]:
    inside = {*module.modules()}
    seen = set()
    for called, _ in calls:
        if called in inside and called not in seen:
            seen.add(called)
            if _kind(called) == 'neuron' or not any(m in inside for m in called.children()):
                yield called


def _kind(module: nn.Module) -> str:
    return 'neuron' if isinstance(module, SpikingNeuron) else 'conv'


def _label(module: nn.Module) -> str:
    """A layer in a few words; nothing for what does nothing."""
    if isinstance(module, SpikingNeuron):
        threshold = getattr(getattr(module, 'dynamics', None), 'v_threshold', 1.0)
        name = type(module).__name__.removesuffix('Neuron')
        return name if threshold == 1.0 else f'{name}, threshold {threshold:g}'
    if isinstance(module, nn.Conv2d):
        (rows, columns), groups = module.kernel_size, module.groups
        kind = 'depthwise' if groups == module.in_channels > 1 else f'{groups} groups'
        ratio = module.out_channels / module.in_channels
        stride = module.stride[0]
        notes = [
            kind if groups > 1 else '',
            f'stride {stride}' if stride > 1 else '',
            f'channels x {ratio:.3g}' if ratio != 1 and module.in_channels > 3 else '',
        ]
        return ', '.join([f'conv {rows} x {columns}', *filter(None, notes)])
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return 'batch norm'
    if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        kind = 'max' if isinstance(module, nn.MaxPool2d) else 'mean'
        return f'{kind} pool {module.kernel_size}, stride {module.stride}'
    if isinstance(module, (nn.Identity, RunningRate)) or 'DropPath' in type(module).__name__:
        return ''
    if 'AttentionMap' in type(module).__name__:
        return ''
    return type(module).__name__


def draw_blocks(backbone: nn.Module, title: str) -> Figure:
    """Draws :func:`chains_of`, a panel each, what runs first on top.

    Args:
        backbone (nn.Module): A :class:`~mmqkformer.models.SpikingBackbone`.
        title (str): Title of the picture.

    Returns:
        Figure: The picture.
    """
    parts = chains_of(backbone)
    widths = [_width(chains) for chains in parts]
    height = max(sum(_height(chain) for chain in chains) for chains in parts) + 1.0
    figure = Figure(figsize=(sum(widths), height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, sum(widths)), ylim=(-height, 0))
    axes.axis('off')
    axes.text(0.15, -0.2, title, fontsize=11, fontweight='bold', va='center')
    left = 0.0
    for (chains, places), width in zip(parts.items(), widths):
        axes.text(left + width / 2, -0.55, _places(places), fontsize=8, ha='center', va='center')
        top = -0.75
        for chain in chains:
            top = _draw_chain(axes, chain, left, width, top)
        left += width
    return figure


def _places(places: list[str]) -> str:
    """``block of stage 1, 2`` for two of them."""
    what = places[0].rpartition(' ')[0]
    return f'{what} {", ".join(place.rpartition(" ")[2] for place in places)}'


def _box_width(level: tuple[Unit, ...]) -> float:
    return max(BOX, 0.068 * max(len(line) for unit in level for line in (unit.name, *unit.layers)))


def _level_width(level: tuple[Unit, ...]) -> float:
    return len(level) * (_box_width(level) + 0.1)


def _width(chains: tuple[Chain, ...]) -> float:
    inner = max(_level_width(level) for chain in chains for level in chain.levels)
    sides = max(_side(chain) for chain in chains)
    return inner + sides + 0.3 + (STREAM if any(chain.residual for chain in chains) else 0.0)


def _side(chain: Chain) -> float:
    """Width of what runs beside the levels."""
    units = [unit for _, unit in chain.shortcuts]
    return sum(_box_width((unit,)) + 0.2 if unit.layers else 0.4 for unit in units)


def _lines(level: tuple[Unit, ...]) -> int:
    return max(len(unit.layers) + bool(unit.name) for unit in level)


def _height(chain: Chain) -> float:
    buses = sum(GAP / 4 for level in chain.levels if len(level) > 1)
    boxes = buses + sum(_lines(level) * LINE + PAD + GAP for level in chain.levels)
    return boxes + (0.45 if chain.residual or chain.shortcuts else 0.1)


def _draw_chain(axes: Axes, chain: Chain, left: float, width: float, top: float) -> float:
    """Draws a chain and the stream beside it; returns where the next begins."""
    bottom = top - _height(chain)
    stream = left + STREAM / 2
    centre = left + (width - _side(chain) + (STREAM if chain.residual else 0.0)) / 2
    y, entries = top, []
    if chain.residual:
        _arrow(axes, (stream, top), (stream, bottom))
        y -= 0.1
        _line(axes, (stream, y), (centre, y))
    for level in chain.levels:
        entries.append(y)
        y = _draw_level(axes, level, centre, y, y - GAP)
    joint = bottom + 0.18
    if chain.residual:
        _line(axes, (centre, y), (centre, joint))
        _arrow(axes, (centre, joint), (stream + 0.1, joint))
        _sign(axes, stream, joint, SIGNS[chain.residual])
        return bottom
    _arrow(axes, (centre, y), (centre, bottom - 0.2))
    beside = left + width - _side(chain) - 0.1
    for start, unit in chain.shortcuts:
        box = _box_width((unit,)) if unit.layers else 0.2
        x = beside + box / 2
        beside += box + 0.2
        end = entries[start] - GAP / 4
        _line(axes, (centre, end), (x, end))
        if unit.layers:
            end = _draw_level(axes, (unit,), x, end, entries[start] - GAP)
        _line(axes, (x, end), (x, joint))
        _arrow(axes, (x, joint), (centre + 0.1, joint))
        _sign(axes, centre, joint, SIGNS[chain.join])
    return bottom


def _draw_level(
    axes: Axes, level: tuple[Unit, ...], centre: float, start: float, top: float
) -> float:
    """Draws units side by side and the wires to and from them; returns where those end."""
    height, box = _lines(level) * LINE + PAD, _box_width(level)
    below = top - height
    middles = [centre + (i - (len(level) - 1) / 2) * (box + 0.1) for i in range(len(level))]
    end = below
    if len(level) > 1:
        _line(axes, (centre, start), (centre, start - GAP / 4))
        start, end = start - GAP / 4, below - GAP / 4
        for y in (start, end):
            _line(axes, (middles[0], y), (middles[-1], y))
    for unit, middle in zip(level, middles):
        _arrow(axes, (middle, start), (middle, top))
        _draw_unit(axes, unit, middle - box / 2, below, box, height)
        _line(axes, (middle, below), (middle, end))
    return end


def _draw_unit(axes: Axes, unit: Unit, x: float, y: float, width: float, height: float) -> None:
    shape = dict(boxstyle='round,pad=0,rounding_size=0.05', edgecolor='#555555')
    axes.add_patch(FancyBboxPatch((x, y), width, height, facecolor=COLOURS[unit.kind], **shape))
    lines = [(unit.name, dict(fontweight='bold'))] if unit.name else []
    lines += [(layer, {}) for layer in unit.layers]
    for i, (line, style) in enumerate(lines):
        at = y + height - PAD / 2 - (i + 0.5) * LINE
        axes.text(x + width / 2, at, line, fontsize=7, ha='center', va='center', **style)


def _sign(axes: Axes, x: float, y: float, sign: str) -> None:
    style = dict(boxstyle='circle,pad=0.15', facecolor='white', edgecolor='#333333')
    axes.text(x, y, sign, fontsize=7, ha='center', va='center', bbox=style)


def _line(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.plot(*zip(start, end), color='#333333', linewidth=1, solid_capstyle='butt')


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = dict(arrowstyle='-|>', mutation_scale=9, color='#333333', shrinkA=0, shrinkB=0)
    axes.add_patch(FancyArrowPatch(start, end, **style))
