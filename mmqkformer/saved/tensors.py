"""The forms in which a storage is kept for the backward pass."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from .bits import bits_of, pack, unpack

# Of a tensor of unknown values these tell that it is none of whole numbers, before all are read
_SAMPLE = 4096
_MOST = 255


def flat(x: Tensor) -> Tensor:
    """All values of the storage of ``x``, in the order of memory, ``[n]``."""
    return x.as_strided((x.untyped_storage().nbytes() // x.element_size(),), (1,), 0)


class Source(ABC):
    """What the values of a storage are got back from."""

    def attach(self) -> None:  # noqa: B027 - most do not count their readers
        """Counts one more reader."""

    @abstractmethod
    def read(self) -> Tensor:
        """All values of the storage, ``[n]``."""


class AsItIs(Source):
    """A storage that is kept, of any tensor of it."""

    def __init__(self, x: Tensor) -> None:
        self.values = flat(x.detach())

    def read(self) -> Tensor:
        """See the base class."""
        return self.values


class Packed(Source):
    """Whole numbers from 0 on, times a unit, in the bits that they need, ``[n]``."""

    def __init__(self, numbers: Tensor, bits: int, unit: float, dtype: torch.dtype) -> None:
        self.planes = pack(numbers, bits)
        self.n, self.unit, self.dtype = numbers.numel(), unit, dtype

    def read(self) -> Tensor:
        """See the base class."""
        if self.unit == 1:
            return unpack(self.planes, self.n, self.dtype)
        return _decoded(unpack(self.planes, self.n, torch.uint8), self.unit, self.dtype)


def _decoded(codes: Tensor, unit: float, dtype: torch.dtype) -> Tensor:
    if unit == 1:
        return codes.to(dtype)
    # As neurons make them: in float32 at least, divided
    wide = dtype if dtype == torch.float64 else torch.float32
    return (codes.to(wide) / (1.0 / unit)).to(dtype)


def known_integers(x: Tensor, levels: int) -> Packed | None:
    """Packs the storage of ``x``, of which it is known to hold 0, 1, ..., ``levels``."""
    if levels > _MOST:
        return None
    return Packed(flat(x), bits_of(levels), 1.0, x.dtype)


def found_integers(x: Tensor, units: Iterable[float]) -> Packed | None:
    """Packs the storage of ``x`` if all of its values are whole numbers times one of ``units``.

    All are read and compared: what is packed comes back to the last bit.
    """
    if x.is_meta or isinstance(x, FakeTensor):
        return None  # without data there is nothing to compare
    values = flat(x)
    for unit in units:
        if _codes(values[:_SAMPLE], unit) is None:
            continue
        if (codes := _codes(values, unit)) is not None:
            return Packed(codes, bits_of(int(codes.max())), unit, x.dtype)
    return None


def _codes(values: Tensor, unit: float) -> Tensor | None:
    """The whole numbers that ``values`` are multiples of the unit by, if they are."""
    codes = (values if unit == 1 else (values / unit).round()).to(torch.uint8)
    same = codes == values if unit == 1 else _decoded(codes, unit, values.dtype) == values
    return codes if bool(same.all()) else None


@dataclass(frozen=True)
class View:
    """A tensor of a storage that is kept in some form; each :meth:`read` is one of a reader."""

    source: Source
    size: Sequence[int]
    stride: Sequence[int]
    offset: int

    @classmethod
    def of(cls, x: Tensor, source: Source) -> 'View':
        """The view that ``x`` is."""
        return cls(source, x.size(), x.stride(), x.storage_offset())

    def read(self) -> Tensor:
        """The tensor."""
        return self.source.read().as_strided(self.size, self.stride, self.offset)


class Recipe:
    """A function that gives tensors again, from what is kept of its inputs.

    It runs without gradient, in the autocast that was on. The results stay as long as there are
    readers who have not read yet, and each reading afterwards runs the function again.
    """

    def __init__(
        self,
        function: Callable[..., Tensor | tuple[Tensor, ...]],
        inputs: Sequence[View],
        outputs: Sequence[Tensor],
    ) -> None:
        self.function, self.inputs = function, inputs
        self.strides = [(y.size(), y.stride()) for y in outputs]
        device = outputs[0].device.type
        self.autocast = dict(
            device_type=device,
            dtype=torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
        )
        self._readers = 0
        self._results: list[Tensor] | None = None

    def attach(self) -> None:
        """Counts one more reader; those of the inputs once there is one."""
        self._readers += 1
        if self._readers == 1:
            for view in self.inputs:
                view.source.attach()

    def read(self, index: int) -> Tensor:
        """All values of the storage of an output, ``[n]``."""
        results = self._run() if self._results is None else self._results
        self._readers -= 1
        self._results = results if self._readers > 0 else None
        return results[index]

    @torch.no_grad()
    def _run(self) -> list[Tensor]:
        with torch.autocast(**self.autocast):
            results = self.function(*(view.read() for view in self.inputs))
        results = (results,) if isinstance(results, Tensor) else results
        return [flat(_laid_out(y, *layout)) for y, layout in zip(results, self.strides)]


def _laid_out(y: Tensor, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    """``y`` in the memory order in which it was before."""
    if y.stride() == stride:
        return y
    return torch.empty_strided(size, stride, dtype=y.dtype, device=y.device).copy_(y)


class Derived(Source):
    """An output of a recipe."""

    def __init__(self, recipe: Recipe, index: int) -> None:
        self.recipe, self.index = recipe, index

    def attach(self) -> None:
        """See the base class."""
        self.recipe.attach()

    def read(self) -> Tensor:
        """See the base class."""
        return self.recipe.read(self.index)
