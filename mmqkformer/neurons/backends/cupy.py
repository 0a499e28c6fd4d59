"""CUDA kernels through CuPy, compiled at run time for the card: sm_70 (V100) and later."""

import importlib.util
import math
import warnings
from collections.abc import Callable
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from ..dynamics import Dynamics, IntegerDynamics, IntegrateAndFireDynamics
from ..surrogate import ATanSurrogate, RectangularSurrogate, SigmoidSurrogate, TriangularSurrogate
from . import kernels
from .kernels import Launcher, by_step, like_steps, same_steps, together
from .registry import KernelBackend, register_backend

# Their numbers in dynamics.cu
_SURROGATES = [SigmoidSurrogate, ATanSurrogate, RectangularSurrogate, TriangularSurrogate]
# A fused multiply-add rounds once where the reference rounds twice
OPTIONS = ('-std=c++14', '-fmad=false')
_NO_LEAK, _INPUT_DECAYS, _INPUT_HALVES, _INPUT_STAYS, _LEARNT = range(5)


@cache
def _cupy() -> ModuleType | None:
    """CuPy, which is imported where a tensor is first on a GPU; None where it is not to be had."""
    if importlib.util.find_spec('cupy') is None:
        return None
    try:
        import cupy
    except ImportError as error:
        warnings.warn(f'the neurons do without CuPy, which is broken: {error}', stacklevel=2)
        return None
    return cupy


@cache
def _function(kernel: str, dtype: torch.dtype, steps: int, together: int, device: int) -> Callable:
    cupy = _cupy()
    options = (*OPTIONS, *kernels.macros(dtype, steps, together))
    with cupy.cuda.Device(device):
        return cupy.RawModule(code=kernels.source(kernel), options=options).get_function(kernel)


class CupyLauncher(Launcher):
    """Launches on PyTorch's current stream and memory; after the first call, graphs capture it.

    The first call for a kernel, type and number of steps compiles it, or takes it from CuPy's
    cache on the disk, and is not to be captured.
    """

    def run(self, kernel: str, x: Tensor, together: int, threads: int, args: tuple) -> None:
        """See the base class."""
        device = x.get_device()
        function = _function(kernel, x.dtype, x.size(0), together, device)
        cuda = _cupy().cuda
        stream = torch.cuda.current_stream(device)
        if hasattr(cuda.Stream, 'from_external') and hasattr(stream, '__cuda_stream__'):
            current = cuda.Stream.from_external(stream)
        else:  # before CuPy 14 or PyTorch 2.9
            current = cuda.ExternalStream(stream.cuda_stream, device)
        with cuda.Device(device), current:
            function((threads // self.block,), (self.block,), args)


@register_backend('cupy')
class CupyBackend(KernelBackend):
    """One kernel a pass for up to 64 steps; of float16 and bfloat16 the membrane alone is float32.

    Any layout in which a step is one block of memory, such as channels last, is read where it
    lies. Integrate-and-fire keeps X for the backward pass, which computes H again; integer
    neurons keep a byte. Compiled and exported graphs are left to the reference.
    """

    narrow = True
    needs = f'CuPy, and CUDA tensors of 1 to {kernels.MAX_STEPS} steps'
    launcher: Launcher = CupyLauncher()

    def supports(self, dynamics: Dynamics, x: Tensor | None = None) -> bool:
        """See the base class."""
        if isinstance(dynamics, IntegrateAndFireDynamics):
            known = type(dynamics.surrogate) in _SURROGATES
        else:
            known = isinstance(dynamics, IntegerDynamics)
        return known and (x is None or (kernels.computes(x) and self.runs_on(x)))

    def runs_on(self, x: Tensor) -> bool:
        """Whether the launcher reaches the memory of ``x``."""
        return x.is_cuda and not torch.compiler.is_compiling() and _cupy() is not None

    def forward(
        self, dynamics: Dynamics, x: Tensor, rate: Tensor | None, save: bool
    ) -> tuple[Tensor, tuple]:
        """See the base class."""
        x = by_step(x)
        spikes = like_steps(x[0], x)
        if isinstance(dynamics, IntegerDynamics):
            window = like_steps(x[0], x, torch.bool) if save else None
            given = (x, x.stride(0), spikes, window, x[0].numel())
            described = (dynamics.levels, *_factors(dynamics), dynamics.half_up)
            self._launch('integer_forward', x, together(x), *given, *described)
            return spikes, (window,) if save else ()
        described = neuron_arguments(dynamics, x, rate)
        given = (x, x.stride(0), None, 0, spikes, x[0].numel())
        self._launch('fire_forward', x, together(x), *given, *described)
        if not save:
            return spikes, ()
        return spikes, (x,) if rate is None else (x, rate)

    def backward(
        self, dynamics: Dynamics, saved: tuple, grad_spikes: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """See the base class."""
        kept, *learnt = saved
        grad_spikes = same_steps(grad_spikes, kept)
        grad_x = like_steps(kept[0], kept, grad_spikes.dtype)
        count = kept[0].numel()
        grads = (grad_spikes, grad_spikes.stride(0), grad_x)
        if isinstance(dynamics, IntegerDynamics):
            # The window is laid out by this function, a byte each
            described = (count, *_factors(dynamics))
            self._launch(
                'integer_backward', grad_x, together(grad_spikes), kept, *grads, *described
            )
            return grad_x, None
        rate = learnt[0] if learnt else None
        wide = kernels.wide_type(kept.dtype)
        size = together(kept, grad_spikes)
        threads = self.launcher.threads(count // size)
        sums = kept.new_empty(threads, dtype=wide) if learnt else None
        described = neuron_arguments(dynamics, kept, rate)
        given = (kept, kept.stride(0), *grads, sums, count)
        self._launch('fire_backward', kept, size, *given, *described)
        return grad_x, sums.sum().to(rate.dtype) if learnt else None

    def _launch(self, kernel: str, x: Tensor, size: int, *args: Tensor | float | None) -> None:
        self.launcher.launch(kernel, x, x[0].numel() // size, *args, together=size)


def neuron_arguments(
    dynamics: IntegrateAndFireDynamics, x: Tensor, rate: Tensor | None
) -> tuple[Tensor | float | None, ...]:
    """The description as the kernels take it: ``NEURON`` in dynamics.cu.

    Args:
        dynamics (IntegrateAndFireDynamics): The description.
        x (Tensor): Currents, ``[T, ...]``, in whose wide type a learnt 1 / tau is read.
        rate (Tensor | None): The learnt 1 / tau, a 0-d tensor.
    """
    if rate is not None:
        leak = _LEARNT
        rate = rate.detach().to(x.device, kernels.wide_type(x.dtype))
    elif dynamics.tau is None:
        leak = _NO_LEAK
    elif not dynamics.decay_input:
        leak = _INPUT_STAYS
    else:
        is_power_of_two = math.frexp(dynamics.tau)[0] == 0.5
        leak = _INPUT_HALVES if is_power_of_two else _INPUT_DECAYS
    tau, surrogate = float(dynamics.tau or 1.0), dynamics.surrogate
    is_atan = isinstance(surrogate, ATanSurrogate)
    return (
        leak,
        tau,
        1.0 / tau,
        rate,
        dynamics.v_threshold,
        dynamics.v_reset is not None,
        dynamics.v_rest,
        dynamics.strict,
        dynamics.detach_reset,
        _SURROGATES.index(type(surrogate)),
        surrogate.alpha,
        math.pi / 2 * surrogate.alpha if is_atan else 0.5 / surrogate.alpha,
    )


def _factors(dynamics: IntegerDynamics) -> tuple[float, float, float]:
    return float(dynamics.decay), float(dynamics.scale), float(dynamics.divisor)
