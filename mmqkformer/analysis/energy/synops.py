"""Synaptic operations of a network on real inputs: the additions that its spikes make."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch._ops import OpOverload

from ...neurons import SpikingNeuron
from ..operations import TensorPass
from ..products import ProductMode
from .origins import Origin, Origins, numbers_of_spikes

KINDS = ('binary', 'integer', 'analogue')
# Whose additions are known; others, such as a fused attention with a softmax, are analogue
_PRODUCTS = {f'aten.{name}' for name in ('convolution', 'mm', 'addmm', 'bmm', 'baddbmm')}


@dataclass(frozen=True)
class Factor:
    """What a product takes that depends on the network's input, over all samples and steps.

    Attributes:
        kind (str): ``binary`` (0 or 1 spike), ``integer`` (numbers of spikes) or ``analogue``.
        unit (float | None): The value of one spike; None of analogue numbers.
        mean (float | None): Spikes of an element, the firing rate where they are binary; None of
            analogue numbers.
        most (int | None): Most spikes of an element; None of analogue numbers.
        nonzero (float): Share of the elements that are not 0.
        made_of (str): What it is made of, in words.
    """

    kind: str
    unit: float | None
    mean: float | None
    most: int | None
    nonzero: float
    made_of: str


@dataclass(frozen=True)
class LayerWork:
    """The products of one layer for one sample, all time steps together.

    Attributes:
        name (str): The module's; of an attention's products with a number, ``(1)``, in their order.
        operator (str): PyTorch's.
        kind (str): ``binary`` or ``integer``, where spikes make them additions; ``analogue``, where
            they are multiplications and additions.
        factors (list[Factor]): What it takes; two where it multiplies what depends on the input.
        dense (int): Scalar products, as dense arithmetic would do them.
        synaptic (float): Additions that spikes make, the mean over the samples; 0 where the kind is
            analogue.
    """

    name: str
    operator: str
    kind: str
    factors: list[Factor]
    dense: int
    synaptic: float


@dataclass(frozen=True)
class NeuronWork:
    """The updates of one neuron layer for one sample, all time steps together.

    Attributes:
        name (str): The module's.
        updates (int): Updates of a membrane.
        spikes (float): Spikes, the mean over the samples.
    """

    name: str
    updates: int
    spikes: float


@dataclass(frozen=True)
class Remark:
    """What a layer does to what depends on the input beside adding spikes.

    Attributes:
        name (str): The module's.
        reason (str): In words.
        folds (bool): Whether a chip need not do it, as it folds into weights or thresholds.
    """

    name: str
    reason: str
    folds: bool


@dataclass(frozen=True)
class Work:
    """What a network computes for one sample, all time steps together.

    Attributes:
        samples (int): Samples that were looked at.
        layers (list[LayerWork]): The products, in the order of the network.
        neurons (list[NeuronWork]): The neurons, in the order of the network.
        remarks (list[Remark]): What else is done, in the order of the network.
    """

    samples: int
    layers: list[LayerWork]
    neurons: list[NeuronWork]
    remarks: list[Remark]

    def dense(self, *kinds: str) -> int:
        """Dense scalar products of the layers of these kinds; of all without any."""
        return sum(layer.dense for layer in self.layers if layer.kind in (kinds or KINDS))

    def synaptic(self, *kinds: str) -> float:
        """Synaptic operations of the layers of these kinds; of all without any."""
        return sum(layer.synaptic for layer in self.layers if layer.kind in (kinds or KINDS))

    @property
    def mean_input(self) -> float:
        """Synaptic operations for each dense product of the layers that add spikes."""
        dense = self.dense('binary', 'integer')
        return self.synaptic() / dense if dense else 0.0


@dataclass
class _Seen:
    """A factor as far as it has been seen."""

    units: set[float | None] = field(default_factory=set)
    elements: int = 0
    nonzero: int = 0
    spikes: float = 0.0
    most: int = 0
    made_of: str = ''

    def see(self, x: Tensor, origin: Origin) -> Tensor | None:
        """Adds a tensor to it; returns its numbers of spikes, None of analogue ones."""
        self.elements += x.numel()
        self.nonzero += int(x.count_nonzero())
        self.made_of = self.made_of or origin.made_of
        numbers = None if origin.unit is None else numbers_of_spikes(x, origin.unit)
        self.units.add(None if numbers is None else origin.unit)
        if origin.unit is not None and numbers is None:
            self.made_of = f'differences of {origin.made_of}'
        elif numbers is not None:
            self.spikes += float(numbers.sum(dtype=torch.float64))
            self.most = max(self.most, int(numbers.max()))
        return numbers

    def factor(self) -> Factor:
        """The factor."""
        nonzero = self.nonzero / max(self.elements, 1)
        if None in self.units or len(self.units) != 1:
            return Factor('analogue', None, None, None, nonzero, self.made_of)
        kind = 'binary' if self.most <= 1 else 'integer'
        (unit,) = self.units
        mean = self.spikes / max(self.elements, 1)
        return Factor(kind, unit, mean, self.most, nonzero, self.made_of)


@dataclass
class _Products:
    """The products of a layer as far as they have been seen."""

    operator: str
    seen: list[_Seen]
    dense: int = 0
    synaptic: float = 0.0

    def work(self, name: str, samples: int) -> LayerWork:
        """The work for one sample."""
        factors = [seen.factor() for seen in self.seen]
        kinds = [factor.kind for factor in factors] or ['analogue']
        # Of two activations the one of fewer levels drives: its spikes add what the other holds
        kind = min(kinds, key=KINDS.index)
        synaptic = 0.0 if kind == 'analogue' else self.synaptic / samples
        return LayerWork(name, self.operator, kind, factors, self.dense // samples, synaptic)


class _WorkCounter(ProductMode):
    """Counts products with the spikes that they take, and neurons' updates."""

    def __init__(self) -> None:
        super().__init__()
        self.origins = Origins()
        self.products: dict[str, _Products] = {}
        self.neurons: dict[str, list[float]] = {}
        self.firing = 0
        self.calls: Counter[str] = Counter()

    def start(self, x: Tensor) -> None:
        """Begins with the input of a forward pass."""
        self.calls.clear()
        self.origins.start(x)

    def on_entering(self, name: str, module: nn.Module) -> None:
        """See the base class."""
        self.firing += isinstance(module, SpikingNeuron)

    def on_leaving(self, name: str, module: nn.Module, output: object) -> None:
        """See the base class."""
        if not isinstance(module, SpikingNeuron):
            return
        self.firing -= 1
        if self.firing == 0:
            self.origins.set(output, Origin('spikes', module.unit))
            counts = self.neurons.setdefault(name, [0, 0.0])
            counts[0] += output.numel()
            counts[1] += float(output.sum(dtype=torch.float64)) / module.unit

    def on_result(self, func: OpOverload, args: tuple, kwargs: Mapping, result: object) -> None:
        """See the base class."""
        if self.firing == 0:
            self.origins.follow(self.running[-1], func, args, kwargs, result)

    def on_product(self, operator: str, args: tuple, result: Tensor, products: int) -> None:
        """See the base class."""
        left, right = args[1:3] if operator.endswith(('addmm', 'baddbmm')) else args[:2]
        found = [(x, origin) for x in (left, right) if (origin := self.origins.get(x)) is not None]
        if operator not in _PRODUCTS:
            found = [(x, Origin(origin.made_of)) for x, origin in found]
        name = self.running[-1]
        if len(found) == 2:
            self.calls[name] += 1
            name = f'{name} ({self.calls[name]})'
        layer = self.products.setdefault(name, _Products(operator, [_Seen() for _ in found]))
        layer.dense += products
        numbers = [seen.see(x, origin) for seen, (x, origin) in zip(layer.seen, found)]
        if len(numbers) == 2 and None not in numbers:
            layer.synaptic += _coincidences(*numbers)
            return
        for (x, _), spikes in zip(found, numbers):
            if spikes is not None:
                layer.synaptic += _fanned_out(operator, args, result, spikes, x is left)


def _coincidences(left: Tensor, right: Tensor) -> float:
    """Additions of ``left @ right``, ``[..., M, K] @ [..., K, N]``, both numbers of spikes.

    A spike adds what the other factor holds, if that is not 0; of the two that which makes fewer
    additions drives, the binary one where the other is not.
    """

    def driven(left: Tensor, right: Tensor) -> float:
        columns, rows = left.sum(-2, dtype=torch.float64), right.sum(-1, dtype=torch.float64)
        return float((columns * rows).sum())

    return min(driven(left, right > 0), driven(left > 0, right))


def _fanned_out(operator: str, args: tuple, result: Tensor, spikes: Tensor, is_left: bool) -> float:
    """Additions that numbers of spikes make, each of a weight or an analogue number."""
    if operator != 'aten.convolution':
        return float(spikes.sum(dtype=torch.float64)) * result.size(-1 if is_left else -2)
    _, weight, _, *place, transposed, _, groups = args
    outputs = weight.size(1) if transposed else weight.size(0) // groups
    reached = spikes.sum((0, 1), dtype=torch.float64)
    for axis, along in enumerate(zip(spikes.shape[2:], result.shape[2:], weight.shape[2:], *place)):
        shape = [-1 if i == axis else 1 for i in range(reached.dim())]
        reached = reached * _reached(*along, transposed).to(reached).view(shape)
    return float(reached.sum()) * outputs


def _reached(
    size: int, out: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool
) -> Tensor:
    """Number of outputs that each input of a convolution along one axis reaches, ``[size]``."""
    taps = torch.arange(kernel) * dilation - padding
    if transposed:
        outputs = torch.arange(size)[:, None] * stride + taps
        return ((outputs >= 0) & (outputs < out)).sum(1)
    inputs = (torch.arange(out)[:, None] * stride + taps).flatten()
    return torch.bincount(inputs[(inputs >= 0) & (inputs < size)], minlength=size)


@torch.no_grad()
def measure_work(model: nn.Module, batches: Iterable[Mapping]) -> Work:
    """Counts the products of a network on inputs, and the additions that its spikes make of them.

    Convolutions, linear layers and matrix products are counted, where they run: what is computed
    once for all time steps counts once. What a layer takes is

    - ``binary`` or ``integer``, where the operators from the neurons on give whole numbers of
      spikes of a known value (:class:`Origins`), and the values of all inputs are such numbers, at
      most 1 or more;
    - ``analogue`` else. The trained weights of a layer do not enter.

    A number of n spikes is n additions to every output that it reaches, exactly, at borders too.
    Where both factors are spikes, those of one add what the other holds unless it is 0: of two
    binary ones the additions are the pairs of spikes that meet.

    Args:
        model (nn.Module): A model of mmpretrain, mmdet or mmseg, in eval mode.
        batches (Iterable[Mapping]): Of each the ``inputs``, images ``[B, C, H, W]`` or frames of
            events ``[B, T, C, H, W]``, normalised, as
            :meth:`~mmqkformer.analysis.subject.Subject.batches` gives them.

    Returns:
        Work: Of one sample.

    Raises:
        ValueError: There is no batch, or the model is in training mode.
    """
    if model.training:
        raise ValueError('model: expected one in eval mode')
    counter, forward, samples = _WorkCounter(), TensorPass(model), 0
    with counter.following(model):
        for batch in batches:
            x = batch['inputs']
            counter.start(x)
            with counter:
                forward(x)
            samples += len(x)
    if not samples:
        raise ValueError('batches: expected at least one')
    return Work(
        samples,
        [products.work(name, samples) for name, products in counter.products.items()],
        [NeuronWork(n, int(u) // samples, s / samples) for n, (u, s) in counter.neurons.items()],
        [Remark(*where, folds) for where, folds in counter.origins.notes.items()],
    )
