"""CUDA kernels through CuPy, compiled at run time for the card: sm_70 (V100) and later."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels import (
    MAX_STEPS,
    CupyLauncher,
    Launcher,
    by_step,
    computes,
    like_steps,
    same_steps,
    together,
    wide_type,
)
from ..dynamics import Dynamics, IntegerDynamics, IntegrateAndFireDynamics
from ..surrogate import ATanSurrogate, RectangularSurrogate, SigmoidSurrogate, TriangularSurrogate
from .registry import KernelBackend, register_backend

# Their numbers in dynamics.cu
_SURROGATES = [SigmoidSurrogate, ATanSurrogate, RectangularSurrogate, TriangularSurrogate]
_NO_LEAK, _INPUT_DECAYS, _INPUT_HALVES, _INPUT_STAYS, _LEARNT = range(5)


@register_backend('cupy')
class CupyBackend(KernelBackend):
    """One kernel a pass for up to 64 steps; of float16 and bfloat16 the membrane alone is float32.

    Any layout in which a step is one block of memory, such as channels last, is read where it
    lies. Integrate-and-fire keeps X for the backward pass, which computes H again; integer
    neurons keep a byte. Compiled and exported graphs are left to the reference.
    """

    narrow = True
    needs = f'CuPy, and CUDA tensors of 1 to {MAX_STEPS} steps'
    launcher: Launcher = CupyLauncher()

    def supports(self, dynamics: Dynamics, x: Tensor | None = None) -> bool:
        """See the base class."""
        if isinstance(dynamics, IntegrateAndFireDynamics):
            known = type(dynamics.surrogate) in _SURROGATES
        else:
            known = isinstance(dynamics, IntegerDynamics)
        return known and (x is None or (computes(x) and self.launcher.reaches(x)))

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
        described = describe(dynamics, x, rate)
        given = (x, x.stride(0), None, 0, spikes, x[0].numel(), *described.arguments)
        self._launch('fire_forward', x, together(x), *given, fixed=described.fixed)
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
        wide = wide_type(kept.dtype)
        size = together(kept, grad_spikes)
        threads = self.launcher.threads(count // size)
        sums = kept.new_empty(threads, dtype=wide) if learnt else None
        described = describe(dynamics, kept, rate)
        given = (kept, kept.stride(0), *grads, sums, count, *described.arguments)
        self._launch('fire_backward', kept, size, *given, fixed=described.fixed)
        return grad_x, sums.sum().to(rate.dtype) if learnt else None

    def _launch(
        self,
        kernel: str,
        x: Tensor,
        size: int,
        *args: Tensor | float | None,
        fixed: tuple[str, ...] = (),
    ) -> None:
        launch, work = self.launcher.launch, x[0].numel() // size
        launch(kernel, x, work, *args, together=size, fixed=fixed)


@dataclass(frozen=True)
class Described:
    """Integrate-and-fire dynamics as the kernels take them.

    Attributes:
        arguments (tuple): ``NEURON`` in dynamics.cu.
        fixed (tuple[str, ...]): Macros for what decides which way the arithmetic goes, so that
            code for the others is not even compiled.
    """

    arguments: tuple[Tensor | float | None, ...]
    fixed: tuple[str, ...]


def describe(dynamics: IntegrateAndFireDynamics, x: Tensor, rate: Tensor | None) -> Described:
    """The description as the kernels take it.

    Args:
        dynamics (IntegrateAndFireDynamics): The description.
        x (Tensor): Currents, ``[T, ...]``, in whose wide type a learnt 1 / tau is read.
        rate (Tensor | None): The learnt 1 / tau, a 0-d tensor.
    """
    if rate is not None:
        leak = _LEARNT
        rate = rate.detach().to(x.device, wide_type(x.dtype))
    elif dynamics.tau is None:
        leak = _NO_LEAK
    elif not dynamics.decay_input:
        leak = _INPUT_STAYS
    else:
        is_power_of_two = math.frexp(dynamics.tau)[0] == 0.5
        leak = _INPUT_HALVES if is_power_of_two else _INPUT_DECAYS
    tau, surrogate = float(dynamics.tau or 1.0), dynamics.surrogate
    hard, kind = dynamics.v_reset is not None, _SURROGATES.index(type(surrogate))
    alpha = surrogate.alpha
    scale = math.pi / 2 * alpha if isinstance(surrogate, ATanSurrogate) else 0.5 / alpha
    strict, detach = dynamics.strict, dynamics.detach_reset
    levels = (dynamics.v_threshold, hard, dynamics.v_rest)
    slope = (kind, alpha, scale)
    ways = dict(LEAK=leak, HARD=hard, STRICT=strict, DETACH=detach, SURROGATE=kind)
    return Described(
        (leak, tau, 1.0 / tau, rate, *levels, strict, detach, *slope),
        tuple(f'-DNEURON_{name}={int(way)}' for name, way in ways.items()),
    )


def _factors(dynamics: IntegerDynamics) -> tuple[float, float, float]:
    return float(dynamics.decay), float(dynamics.scale), float(dynamics.divisor)
