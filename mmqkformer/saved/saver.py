"""Decides what is kept of each tensor that autograd saves."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from .tensors import AsItIs, Derived, Recipe, Source, View, found_integers, known_integers

MEMORY = ('packed', 'recompute')
# Below, what describes a packed tensor weighs as much as the tensor
_LEAST = 512
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class _Entry:
    """What is known of a storage at a version of its values."""

    def __init__(
        self,
        x: Tensor,
        source: Source | None = None,
        known: tuple[int, float] | None = None,
        whole_numbers: bool = True,
    ) -> None:
        self.storage = StorageWeakRef(x.untyped_storage())
        self.version, self.dtype = x._version, x.dtype
        self.source = source
        self.known = known
        # False: they need not be looked for
        self.whole_numbers = whole_numbers

    def describes(self, x: Tensor) -> bool:
        """Whether it is of the values that ``x`` has now."""
        alive = not self.storage.expired()
        return alive and self.version == x._version and self.dtype == x.dtype


class Saver:
    """Keeps what autograd saves within a forward pass, see :func:`saving`.

    Knowledge of a tensor is that of its storage, so that all of its views share it, and several
    layers that save one tensor keep it once.

    Args:
        memory (str): ``packed`` or ``recompute``.
        module (nn.Module): Module whose parameters are kept as they are.
    """

    def __init__(self, memory: str, module: nn.Module) -> None:
        self.memory = memory
        self.deriving = True
        self._entries: dict[int, _Entry] = {}
        self._units = [1.0]
        # Autocast makes copies of them, and norms save what has an axis alone: to look whether a
        # tensor is of whole numbers, a GPU has to be waited for
        self._weights = {p.shape for p in module.parameters()}
        for parameter in module.parameters():
            self.keep(parameter)

    def note(self, x: Tensor, levels: int, unit: float) -> None:
        """Tells that ``x`` is ``unit`` times whole numbers from 0 to ``levels``."""
        if unit not in self._units:
            self._units.append(unit)
        if _is_all_of_its_storage(x):
            self._set(x, known=(levels, unit))

    def known(self, x: Tensor) -> tuple[int, float] | None:
        """Levels and unit of ``x``, if they were noted."""
        entry = self._find(x)
        return None if entry is None else entry.known

    def keep(self, x: Tensor) -> None:
        """Tells that ``x`` is not of whole numbers."""
        self._set(x, whole_numbers=False)

    def derive(
        self, outputs: Sequence[Tensor], function: Callable[..., object], inputs: Sequence[Tensor]
    ) -> None:
        """Tells that ``function(*inputs)`` gives the outputs again."""
        if not self.deriving or not all(map(_is_all_of_its_storage, outputs)):
            return
        recipe = Recipe(function, [self.view(x) for x in inputs], outputs)
        for index, y in enumerate(outputs):
            self._set(y, source=Derived(recipe, index))

    def derives(self, x: Tensor) -> bool:
        """Whether ``x`` can be computed again."""
        entry = self._find(x)
        return entry is not None and isinstance(entry.source, Derived)

    def view(self, x: Tensor) -> View:
        """``x``, as it is kept."""
        entry = self._find(x)
        if entry is None:
            entry = self._set(x)
        if entry.source is None:
            entry.source = self._packed(x, entry) or AsItIs(x)
        return View.of(x, entry.source)

    @torch.no_grad()
    def pack(self, x: Tensor) -> View | Tensor:
        """What autograd keeps in the place of ``x``."""
        if x.numel() < _LEAST or x.layout != torch.strided:
            return x
        view = self.view(x)
        view.source.attach()
        return view

    @staticmethod
    @torch.no_grad()
    def unpack(kept: View | Tensor) -> Tensor:
        """The tensor again."""
        return kept.read() if isinstance(kept, View) else kept

    def _packed(self, x: Tensor, entry: _Entry) -> Source | None:
        if x.dtype == torch.bool:
            return known_integers(x, 1)
        if x.dtype not in _FLOATS or not entry.whole_numbers:
            return None
        if entry.known is None and (x.dim() == 1 or x.shape in self._weights):
            return None
        if entry.known is not None and entry.known[1] == 1:
            return known_integers(x, entry.known[0])
        return found_integers(x, self._units)

    def _find(self, x: Tensor) -> _Entry | None:
        entry = self._entries.get(x.untyped_storage()._cdata)
        return entry if entry is not None and entry.describes(x) else None

    def _set(self, x: Tensor, **knowledge) -> _Entry:
        entry = self._entries[x.untyped_storage()._cdata] = _Entry(x, **knowledge)
        return entry


def _is_all_of_its_storage(x: Tensor) -> bool:
    return x.numel() * x.element_size() == x.untyped_storage().nbytes()


_local = threading.local()


def active() -> Saver | None:
    """The saver of the forward pass that this thread is in, if there is one."""
    # A compiled graph decides by itself what it keeps
    return None if torch.compiler.is_compiling() else getattr(_local, 'saver', None)


@contextmanager
def saving(memory: str, module: nn.Module) -> Iterator[None]:
    """Has autograd keep less of a forward pass; gradients are the same to the last bit.

    Whole numbers, which spikes and sums of spikes are, are kept in as few bits as they need: known
    to be such from the neuron that emitted them, or compared value by value; all else is kept as
    it is. What can be computed again from something kept, by a norm, a pool or, with
    ``recompute``, a convolution, is not kept.

    Args:
        memory (str): ``packed`` or ``recompute``.
        module (nn.Module): What is run.
    """
    before, saver = active(), Saver(memory, module)
    _local.saver = saver
    try:
        with torch.autograd.graph.saved_tensors_hooks(saver.pack, saver.unpack):
            yield
    finally:
        _local.saver = before


@contextmanager
def suspended() -> Iterator[None]:
    """Has nothing computed again within: for what other hooks keep, and run again themselves."""
    saver = active()
    before = saver is not None and saver.deriving
    if saver is not None:
        saver.deriving = False
    try:
        yield
    finally:
        if saver is not None:
            saver.deriving = before
