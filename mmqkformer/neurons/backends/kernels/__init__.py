"""The CUDA kernels of the neurons: one source, which a C++ compiler takes as well."""

from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

_FOLDER = Path(__file__).parent
_SHARED = ('portable.cu', 'dynamics.cu')
_STORAGE = {
    torch.float16: 'Half',
    torch.bfloat16: 'BFloat16',
    torch.float32: 'float',
    torch.float64: 'double',
}
MAX_STEPS = 64
# Bytes that a thread reads or writes at once
_ACCESS = 8


@cache
def source(kernel: str) -> str:
    """The source of a kernel: what all share, and the file that defines it.

    Args:
        kernel (str): Its name.

    Raises:
        ValueError: No file defines it.
    """
    files = {path.name: path.read_text(encoding='utf-8') for path in _FOLDER.glob('*.cu')}
    for text in files.values():
        if f'KERNEL {kernel}(' in text:
            return '\n'.join([*(files[name] for name in _SHARED), text])
    raise ValueError(f'kernel={kernel!r}: expected one that a file of {_FOLDER} defines')


def macros(dtype: torch.dtype, steps: int, together: int) -> tuple[str, str, str]:
    """Options that a compiler needs beside the source.

    Args:
        dtype (torch.dtype): Type of currents and spikes.
        steps (int): Number T of time steps, from 1 to ``MAX_STEPS``.
        together (int): Number of neighbours that a thread takes at once.
    """
    return f'-DSTORAGE={_STORAGE[dtype]}', f'-DSTEPS={steps}', f'-DTOGETHER={together}'


def together(*tensors: Tensor, among: int | None = None) -> int:
    """How many neighbours a thread takes at once: those of 8 bytes, or one where they do not fit.

    Narrow types reach a card's bandwidth in no other way.

    Args:
        *tensors (Tensor): What is read, ``[T, ...]``, of one type; a step is one block of memory.
        among (int | None): Number of neighbours that are alike. Defaults to None, a whole step.
    """
    first = tensors[0]
    neighbours = _ACCESS // first.element_size()
    sizes = [x[0].numel() if among is None else among for x in tensors]
    # Of one step the stride is nobody's
    steps = [x.stride(0) if x.size(0) > 1 else 0 for x in tensors]
    fit = all(size % neighbours == 0 for size in (*sizes, *steps))
    return neighbours if fit and all(x.data_ptr() % _ACCESS == 0 for x in tensors) else 1


def computes(x: Tensor) -> bool:
    """Whether the kernels compute on currents ``[T, ...]`` of this type and number of steps."""
    return x.dtype in _STORAGE and x.dim() > 0 and 1 <= x.size(0) <= MAX_STEPS


def wide_type(dtype: torch.dtype) -> torch.dtype:
    """The type that the kernels compute in: float32, or float64 of float64."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class Launcher(ABC):
    """Runs kernels of the source on tensors ``[T, ...]`` of a device.

    Attributes:
        block (int): Threads of a block.
        max_blocks (int): Blocks beyond which a thread takes several neurons: some waves on any
            card, and few enough that a number for each thread costs nothing.
    """

    block: int = 256
    max_blocks: int = 4096

    def threads(self, work: int) -> int:
        """Number of threads that share ``work`` items; no property of the card changes it."""
        return self.block * min(-(-work // self.block), self.max_blocks)

    @abstractmethod
    def run(self, kernel: str, x: Tensor, together: int, threads: int, args: tuple) -> None:
        """Runs so many threads of a kernel compiled for the type, steps and device of ``x``.

        Args:
            kernel (str): Its name.
            x (Tensor): Currents, ``[T, ...]``.
            together (int): Number of neighbours that it takes at once.
            threads (int): A multiple of ``block``.
            args (tuple): Pointers and integers as int, and floats.
        """

    def launch(
        self, kernel: str, x: Tensor, work: int, *args: Tensor | float | None, together: int = 1
    ) -> None:
        """Runs a kernel over ``work`` items; of none, there is nothing to run.

        Args:
            kernel (str): Its name.
            x (Tensor): Currents, ``[T, ...]``, whose type, steps and device it is compiled for.
            work (int): Number of items that its threads share.
            *args (Tensor | float | None): Its arguments; a tensor is passed by its address.
            together (int): Number of neighbours that it takes at once. Defaults to 1.
        """
        if work:
            self.run(kernel, x, together, self.threads(work), tuple(map(_argument, args)))


def _argument(value: Tensor | float | None) -> float:
    if value is None:
        return 0
    if isinstance(value, Tensor):
        return value.data_ptr()
    return int(value) if isinstance(value, bool) else value


def is_block(x: Tensor) -> bool:
    """Whether the elements of a tensor fill one block of memory, in any order of its axes."""
    expected = 1
    for stride, size in sorted(zip(x.stride(), x.shape)):
        if size == 1:
            continue
        if stride != expected:
            return x.numel() == 0
        expected *= size
    return True


def by_step(x: Tensor) -> Tensor:
    """``x`` ``[T, ...]``, copied if a step is not one block of memory; the steps lie anyhow."""
    return x if is_block(x[0]) else like_steps(torch.empty_like(x[0], device='meta'), x).copy_(x)


def like_steps(step: Tensor, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """An empty tensor of as many steps as ``x`` ``[T, ...]``, one behind the other.

    Args:
        step (Tensor): One block of memory, whose shape and layout are those of a step.
        x (Tensor): The tensor of T steps, whose device it is on.
        dtype (torch.dtype | None): Its type. Defaults to None, that of ``x``.
    """
    shape, strides = (x.size(0), *step.shape), (step.numel(), *step.stride())
    return torch.empty_strided(shape, strides, dtype=dtype or x.dtype, device=x.device)


def same_steps(grad: Tensor, x: Tensor) -> Tensor:
    """``grad`` ``[T, ...]``, copied if its steps are not laid out as those of ``x``."""
    pairs = zip(grad.stride()[1:], x.stride()[1:], x.shape[1:])
    same = all(size == 1 or ours == theirs for ours, theirs, size in pairs)
    return grad if same else like_steps(x[0], x, grad.dtype).copy_(grad)
