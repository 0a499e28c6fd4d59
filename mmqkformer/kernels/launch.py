"""Sources, options and launches of the kernels."""

import importlib.util
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from mmengine.logging import print_log
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

_FOLDER = Path(__file__).parent
_SHARED = ('portable.cu', 'dynamics.cu')
_STORAGE = {
    torch.float16: 'Half',
    torch.bfloat16: 'BFloat16',
    torch.float32: 'float',
    torch.float64: 'double',
}
MAX_STEPS = 64
# A fused multiply-add rounds once where the reference rounds twice
OPTIONS = ('-std=c++14', '-fmad=false')


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
        warp (int): Threads that can add up what each of them has.
    """

    block: int = 256
    max_blocks: int = 4096
    warp: int = 32

    def threads(self, work: int) -> int:
        """Number of threads that share ``work`` items; no property of the card changes it."""
        return self.block * min(-(-work // self.block), self.max_blocks)

    @abstractmethod
    def reaches(self, x: Tensor) -> bool:
        """Whether the kernels can be run on the memory of ``x``."""

    @abstractmethod
    def run(
        self, kernel: str, x: Tensor, options: tuple[str, ...], threads: int, args: tuple
    ) -> None:
        """Runs so many threads of a kernel on the device of ``x``.

        Args:
            kernel (str): Its name.
            x (Tensor): Currents, ``[T, ...]``.
            options (tuple[str, ...]): What it is compiled with.
            threads (int): A multiple of ``block``.
            args (tuple): Pointers and integers as int, and floats.
        """

    def launch(
        self,
        kernel: str,
        x: Tensor,
        work: int,
        *args: Tensor | float | None,
        together: int = 1,
        fixed: tuple[str, ...] = (),
    ) -> None:
        """Runs a kernel over ``work`` items; of none, there is nothing to run.

        Args:
            kernel (str): Its name.
            x (Tensor): Currents, ``[T, ...]``, whose type, steps and device it is compiled for.
            work (int): Number of items that its threads share.
            *args (Tensor | float | None): Its arguments; a tensor is passed by its address.
            together (int): Number of neighbours that it takes at once. Defaults to 1.
            fixed (tuple[str, ...]): Macros for arguments that it is compiled for. Defaults to none.
        """
        if work:
            options = (*macros(x.dtype, x.size(0), together), *fixed)
            self.run(kernel, x, options, self.threads(work), tuple(map(_argument, args)))


def _argument(value: Tensor | float | None) -> float:
    if value is None:
        return 0
    if isinstance(value, Tensor):
        return value.data_ptr()
    return int(value) if isinstance(value, bool) else value


@cache
def cupy_module() -> ModuleType | None:
    """CuPy, which is imported where a tensor is first on a GPU; None where it is not to be had."""
    if importlib.util.find_spec('cupy') is None:
        return None
    try:
        import cupy
    except ImportError as error:
        warnings.warn(f'the kernels do without CuPy, which is broken: {error}', stacklevel=2)
        return None
    return cupy


@cache
def _tell() -> None:
    """Once in a process: there are some twenty, of a second and less each."""
    print_log(
        "CUDA kernels are compiled when they are first called, or found in CuPy's cache", 'current'
    )


@cache
def _function(kernel: str, options: tuple[str, ...], device: int) -> Callable:
    _tell()
    cupy = cupy_module()
    with cupy.cuda.Device(device):
        module = cupy.RawModule(code=source(kernel), options=(*OPTIONS, *options))
        return module.get_function(kernel)


class CupyLauncher(Launcher):
    """Launches on PyTorch's current stream and memory; after the first call, graphs capture it.

    The first call for a kernel and its options compiles it, or takes it from CuPy's cache on the
    disk, and is not to be captured.
    """

    def reaches(self, x: Tensor) -> bool:
        """See the base class."""
        if not x.is_cuda or torch.compiler.is_compiling() or isinstance(x, FakeTensor):
            return False
        return cupy_module() is not None

    def run(
        self, kernel: str, x: Tensor, options: tuple[str, ...], threads: int, args: tuple
    ) -> None:
        """See the base class."""
        device = x.get_device()
        function = _function(kernel, options, device)
        cuda = cupy_module().cuda
        stream = torch.cuda.current_stream(device)
        if hasattr(cuda.Stream, 'from_external') and hasattr(stream, '__cuda_stream__'):
            current = cuda.Stream.from_external(stream)
        else:  # before CuPy 14 or PyTorch 2.9
            current = cuda.ExternalStream(stream.cuda_stream, device)
        with cuda.Device(device), current:
            function((threads // self.block,), (self.block,), args)
