"""Firing rates: the spikes per output of every neuron of a network, overall and at every step."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..layers import AttentionMap, SpikingBlock, SpikingMLP
from ..layers.attention import QKChannelAttention, QKTokenAttention
from ..neurons import SpikingNeuron
from .modes import evaluating, rehearsing
from .published import COLUMNS

GROUPS = ('embedding', 'attention', 'branch', 'output', 'neck', 'head', 'other')
QK_ATTENTIONS = (QKTokenAttention, QKChannelAttention)


@dataclass(frozen=True)
class LayerRate:
    """The spikes of a neuron, or of what a Q-K attention makes of two.

    An output is one number: of one sample, step, channel and place.

    Attributes:
        name (str): The neuron's, in the model; of X' the attention's.
        stage (int | None): Stage of the backbone that it is in, from 1; None outside of them.
        block (int | None): Block of the stage, from 1; None outside of them.
        group (str): Kind of part that it belongs to, one of ``GROUPS``; the neuron of a residual
            belongs to its branch.
        role (str): Its place in the block or stage, such as ``attention.query``; outside of them,
            in the model.
        column (str | None): Column of the paper's Table 7 that it is in, one of ``COLUMNS``.
        levels (int): Most spikes of an output; above 1 the neuron is graded.
        unit (float): Value of a spike.
        outputs (int): Number of outputs, of all samples, steps and calls.
        spikes (int): Spikes in all of them; an output of k units is k spikes.
        rate (float): Spikes per output.
        active (float): Share of the outputs that are not 0; of a binary neuron the rate.
        rates (list[float]): Rate of each step.
        actives (list[float]): Share of each step.
    """

    name: str
    stage: int | None
    block: int | None
    group: str
    role: str
    column: str | None
    levels: int
    unit: float
    outputs: int
    spikes: int
    rate: float
    active: float
    rates: list[float]
    actives: list[float]


@dataclass(frozen=True)
class FiringRates:
    """The firing rates of a network.

    Attributes:
        samples (int): Number of samples.
        time_steps (int): Number of steps T.
        layers (list[LayerRate]): Every neuron that fires in a forward pass, in the order of the
            first one.
        masked_keys (list[LayerRate]): X' of every Q-K attention, the keys where the mask lets them
            through. It is a product of two neurons and no neuron itself.
    """

    samples: int
    time_steps: int
    layers: list[LayerRate]
    masked_keys: list[LayerRate]

    @property
    def mean(self) -> float:
        """Spikes per output of all neurons together."""
        return _ratio(
            sum(layer.spikes for layer in self.layers), sum(layer.outputs for layer in self.layers)
        )


class _Counts:
    """Outputs, spikes and outputs that are not 0, of each step."""

    def __init__(self) -> None:
        self.outputs: Counter[int] = Counter()
        self.spikes: Counter[int] = Counter()
        self.active: Counter[int] = Counter()

    def add(self, output: Tensor, unit: float, levels: int) -> None:
        """Counts ``[T, ...]``, multiples of ``unit``."""
        steps = output.detach().reshape(output.size(0), -1)
        if unit != 1:
            steps = (steps.float() / unit).round()
        # Whole numbers: float64 sums of them are exact
        spikes = steps.sum(1, dtype=torch.float64)
        active = steps.count_nonzero(1) if levels > 1 else spikes
        for t, (total, not_zero) in enumerate(zip(spikes.tolist(), active.tolist())):
            self.outputs[t] += steps.size(1)
            self.spikes[t] += int(total)
            self.active[t] += int(not_zero)

    def layer(self, levels: int, unit: float, **place) -> LayerRate:
        """What they say of a neuron."""
        steps = range(len(self.outputs))
        outputs, spikes = self.outputs.total(), self.spikes.total()
        return LayerRate(
            levels=levels,
            unit=unit,
            outputs=outputs,
            spikes=spikes,
            rate=_ratio(spikes, outputs),
            active=_ratio(self.active.total(), outputs),
            rates=[_ratio(self.spikes[t], self.outputs[t]) for t in steps],
            actives=[_ratio(self.active[t], self.outputs[t]) for t in steps],
            **place,
        )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def firing_rates(model: nn.Module, batches: Iterable[dict], as_it_is: bool = False) -> FiringRates:
    """Counts the spikes of every neuron, exactly, over all samples.

    Batches, calls of a neuron that several feature maps pass, and images of different sizes are
    pooled: all outputs have the same weight. Membranes are no spikes and are not counted. The
    model runs in eval mode, without gradients, and eagerly also where it was compiled. It is left
    as it was, its buffers and the random generators too.

    Args:
        model (nn.Module): A model of mmpretrain, mmdet or mmseg, or one that is called as they are.
        batches (Iterable[dict]): Arguments of its forward pass in mode ``tensor``: ``inputs``
            ``[B, ...]`` and, where it needs them, ``data_samples``.
        as_it_is (bool): Whether the model runs in the mode that it is in instead: in training mode
            with the statistics of the batch, drop path and dropout. Defaults to False.

    Returns:
        FiringRates: The rates.

    Raises:
        ValueError: The model has no spiking neuron, or none fires, or there is no batch.
    """
    if not any(isinstance(module, SpikingNeuron) for module in model.modules()):
        raise ValueError(f'expected a model with spiking neurons, not {type(model).__name__}')
    samples = 0
    # Hooks do not see what a compiled graph does
    eager = torch.compiler.set_stance('force_eager')
    mode = rehearsing(model) if as_it_is else evaluating(model)
    with torch.no_grad(), eager, mode, _counting(model) as (neurons, products):
        for batch in batches:
            model(**batch, mode='tensor')
            samples += len(batch['inputs'])
    if not samples:
        raise ValueError('batches: expected at least one sample')
    if not neurons:
        raise ValueError(f'expected a neuron of {type(model).__name__} to fire, none was called')
    columns, attentions = _columns(model), _attentions(model)
    layers = [
        counts.layer(
            neuron.levels, neuron.unit, column=columns.get(name), **_place(name, attentions)
        )
        for name, (neuron, counts) in neurons.items()
    ]
    masked_keys = [
        counts.layer(levels, unit, column="X'", **_place(name, attentions))
        for name, (levels, unit, counts) in products.items()
    ]
    steps = max(len(layer.rates) for layer in layers)
    return FiringRates(samples, steps, layers, masked_keys)


@contextmanager
def _counting(model: nn.Module) -> Iterator[tuple[dict, dict]]:
    """Counts what neurons, and what the projections behind masked keys, are called with."""
    neurons: dict[str, tuple[SpikingNeuron, _Counts]] = {}
    products: dict[str, tuple[int, float, _Counts]] = {}

    def count(name: str, neuron: SpikingNeuron, args: tuple, output: Tensor) -> None:
        _, counts = neurons.setdefault(name, (neuron, _Counts()))
        counts.add(output, neuron.unit, neuron.levels)

    def count_masked(name: str, attention: nn.Module, proj: nn.Module, args: tuple) -> None:
        key, mask = attention.key.neuron, attention.mask_neuron
        levels, unit = key.levels * mask.levels, key.unit * mask.unit
        *_, counts = products.setdefault(name, (levels, unit, _Counts()))
        counts.add(args[0], unit, levels)

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, SpikingNeuron):
                hook = module.register_forward_hook(partial(count, name))
            elif isinstance(module, QK_ATTENTIONS):
                hook = module.proj.register_forward_pre_hook(partial(count_masked, name, module))
            else:
                continue
            hooks.callback(hook.remove)
        yield neurons, products


def _columns(model: nn.Module) -> dict[str, str]:
    """The columns of Table 7 by the neurons' names."""
    columns = {}
    for name, block in model.named_modules():
        parts = block.residuals if isinstance(block, SpikingBlock) else {}
        parts = {branch: (getattr(block, branch), kind) for branch, kind in parts.items()}
        if not any(isinstance(part, QK_ATTENTIONS) for part, _ in parts.values()):
            continue
        for branch, (part, kind) in parts.items():
            if isinstance(part, QK_ATTENTIONS):
                named = {'query.neuron': 'Q', 'key.neuron': 'K', 'mask_neuron': 'A'}
                behind = "X''"
            elif isinstance(part, SpikingMLP):
                named, behind = {'fc1.neuron': 'MLP 1'}, 'MLP 2'
            else:
                continue
            columns |= {f'{name}.{branch}.{place}': column for place, column in named.items()}
            # A membrane's neuron stands in front of the branch
            if kind != 'membrane':
                columns[f'{name}.{branch}_neuron'] = behind
    return columns


def _attentions(model: nn.Module) -> set[str]:
    """Names of the attentions, which have a map."""
    taps = [name for name, m in model.named_modules() if isinstance(m, AttentionMap)]
    return {name.rpartition('.')[0] for name in taps}


def _place(name: str, attentions: set[str]) -> dict:
    """Name, stage, block, group and role of a neuron or attention, from its name."""
    found = re.search(r'(?:^|\.)stages\.(\d+)\.(?:blocks\.(\d+)\.)?(.+)$', name)
    stage, block, inside = found.groups() if found else (None, None, name)
    if block is not None:
        branch = name[: found.start(3)] + inside.split('.')[0].removesuffix('_neuron')
        group = 'attention' if branch in attentions else 'branch'
    elif stage is not None:
        group = 'embedding'
    elif 'out_neurons.' in name:
        group = 'output'
    else:
        top = name.split('.')[0]
        group = next((kind for kind in ('neck', 'head') if kind in top), 'other')
    return dict(
        name=name,
        stage=None if stage is None else int(stage) + 1,
        block=None if block is None else int(block) + 1,
        group=group,
        role=inside.removesuffix('.neuron'),
    )


def table_7(rates: FiringRates) -> dict[int, dict[str, float | None]]:
    """Rates in the layout of the paper's Table 7: a row for each stage with Q-K attention.

    A_t is the token mask, X' = A_t (x) K, X'' what fires behind the projection, MLP 1 and 2 what
    fires behind the MLP's layers. Blocks of a stage are pooled.

    Args:
        rates (FiringRates): The rates.

    Returns:
        dict[int, dict[str, float | None]]: By stage the rate of each of ``COLUMNS``; None where no
        neuron stands there, as behind the branches of a ``membrane`` residual.
    """
    entries = [entry for entry in (*rates.layers, *rates.masked_keys) if entry.column is not None]
    return {
        stage: {
            column: _pooled([e for e in entries if (e.stage, e.column) == (stage, column)])
            for column in COLUMNS
        }
        for stage in sorted({entry.stage for entry in entries})
    }


def _pooled(entries: Sequence[LayerRate]) -> float | None:
    if not entries:
        return None
    return _ratio(sum(e.spikes for e in entries), sum(e.outputs for e in entries))
