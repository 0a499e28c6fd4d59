"""Bytes that a forward pass keeps for the backward pass, by what keeps them."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest import mock

import torch
from mmcv.cnn import is_norm
from torch import Tensor, nn

from ..neurons import SpikingNeuron
from ..saved.saver import Saver
from ..saved.tensors import AsItIs, Derived, Packed, Source, View

NORM, CHARGE, CONV, POOL, OTHERS = (
    'norm input',
    'charge',
    'convolution inputs',
    'pool',
    'others',
)
KINDS = (NORM, CHARGE, CONV, POOL, OTHERS)


@dataclass
class SavedBytes:
    """What a forward pass has kept.

    Attributes:
        kinds (Counter[str]): Bytes of each of ``KINDS``, by the layer that kept them first.
        neurons (int): Neurons of all samples times their steps, those that were computed.
    """

    kinds: Counter[str]
    neurons: int

    @property
    def per_neuron(self) -> dict[str, float]:
        """Bytes per neuron and step of each kind."""
        return {kind: self.kinds[kind] / self.neurons for kind in KINDS}

    @property
    def total(self) -> float:
        """Bytes per neuron and step."""
        return sum(self.kinds.values()) / self.neurons


def saved_bytes(model: nn.Module, forward: Callable[[], object]) -> SavedBytes:
    """Counts what autograd keeps, every storage once, the parameters aside.

    Args:
        model (nn.Module): The network.
        forward (Callable[[], object]): Runs it; what it returns is let go afterwards.
    """
    counts = _Counts(model)
    pack = Saver.pack

    def counted(saver: Saver, x: Tensor) -> View | Tensor:
        kept = pack(saver, x)
        counts.add(kept)
        return kept

    hooks = torch.autograd.graph.saved_tensors_hooks(counts.add, lambda x: x)
    try:
        with mock.patch.object(Saver, 'pack', counted), hooks:
            forward()
    finally:
        counts.remove_hooks()
    return SavedBytes(counts.kinds, counts.neurons)


class _Counts:
    def __init__(self, model: nn.Module) -> None:
        self.kinds: Counter[str] = Counter()
        self.neurons = 0
        # Kept, so that no address is used twice
        self._seen = {p.untyped_storage()._cdata: p for p in model.parameters()}
        self._within = [OTHERS]
        self._hooks = []
        for module in model.modules():
            if (kind := _kind(module)) is not None:
                self._hooks += [
                    module.register_forward_pre_hook(self._entering(kind)),
                    module.register_forward_hook(self._leave),
                ]

    def add(self, kept: View | Tensor) -> View | Tensor:
        """Counts what is kept and has not been counted yet."""
        for tensor in [kept] if isinstance(kept, Tensor) else _tensors(kept.source):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._seen:
                self._seen[storage._cdata] = tensor
                self.kinds[self._within[-1]] += storage.nbytes()
        return kept

    def remove_hooks(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _entering(self, kind: str) -> Callable:
        return lambda module, args: self._within.append(kind)

    def _leave(self, module: nn.Module, args: tuple, result: Tensor) -> None:
        self._within.pop()
        # Of equal steps one is computed; a neuron around another computes nothing itself
        if isinstance(module, SpikingNeuron) and self._within[-1] != CHARGE:
            self.neurons += result.numel()


def _kind(module: nn.Module) -> str | None:
    if isinstance(module, SpikingNeuron):
        return CHARGE
    if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
        return CONV
    if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        return POOL
    return NORM if is_norm(module) else None


def _tensors(source: Source) -> Iterator[Tensor]:
    if isinstance(source, AsItIs):
        yield source.values
    elif isinstance(source, Packed):
        yield source.planes
    elif isinstance(source, Derived):
        for view in source.recipe.inputs:
            yield from _tensors(view.source)
