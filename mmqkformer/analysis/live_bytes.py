"""Bytes of the tensors that are alive, at every moment of a computation."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WORKING = 'working'


class LiveBytes(TorchDispatchMode):
    """Counts the storages that are alive while it is entered, and what they were at the peak.

    A storage counts from the first operator that takes or returns it until its last tensor is gone,
    once for all of its views; those of before can be counted by :meth:`label`. Tensors may be real
    or fake. What an operator allocates and frees inside (workspaces of convolutions) is not seen.

    Attributes:
        now (Counter[str]): Live bytes by label; what has none is ``working``.
        peak (Counter[str]): ``now`` at the moment when its sum was largest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self._total = 0
        self._peak_total = 0
        self._storages: dict[int, tuple[str, int]] = {}

    def label(self, tensors: Iterable[Tensor], name: str) -> None:
        """Counts the storages of ``tensors`` under ``name``."""
        for tensor in tensors:
            self._see(tensor)
            key = tensor.untyped_storage()._cdata
            size = self._forget(key)
            self._count(key, name, size)

    def label_working(self, name: str) -> None:
        """Counts everything that has no label yet under ``name``."""
        for key, (label, size) in self._storages.items():
            if label == WORKING:
                self._storages[key] = name, size
        self.now[name] += self.now.pop(WORKING, 0)

    def alias(self, tensor: Tensor, of: Tensor) -> None:
        """Lets ``tensor`` stand for ``of``: it counts nothing, and keeps ``of`` alive."""
        storage = tensor.untyped_storage()
        if storage._cdata in self._storages:
            self._forget(storage._cdata)
        else:
            self._at_the_end_of(storage, self._forget, storage._cdata)
        self._storages[storage._cdata] = WORKING, 0
        self._at_the_end_of(storage, id, of)

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._storages:
            self._count(storage._cdata, WORKING, storage.nbytes())
            self._at_the_end_of(storage, self._forget, storage._cdata)

    def _at_the_end_of(self, storage: torch.UntypedStorage, call: Callable, argument) -> None:
        weakref.finalize(storage, call, argument).atexit = False

    def _count(self, key: int, name: str, size: int) -> None:
        self._storages[key] = name, size
        self.now[name] += size
        self._total += size
        if self._total > self._peak_total:
            self._peak_total, self.peak = self._total, self.now.copy()

    def _forget(self, key: int) -> int:
        name, size = self._storages.pop(key)
        self.now[name] -= size
        self._total -= size
        return size

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        for tensor in _tensors((args, *kwargs.values(), result)):
            self._see(tensor)
        return result


def _tensors(value: object) -> Iterator[Tensor]:
    """Tensors of what operators take and return; PyTorch's own search takes ten times as long."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
