"""The one autograd function of the neurons."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...saved import recomputable

if TYPE_CHECKING:
    from ..dynamics import Dynamics
    from .registry import KernelBackend


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, rate: Tensor | None, backend: 'KernelBackend', dynamics: 'Dynamics'
    ) -> Tensor:
        spikes, saved = backend.forward(dynamics, x, rate, save=True)
        ctx.save_for_backward(*saved)
        ctx.backend, ctx.dynamics = backend, dynamics
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        grads = ctx.backend.backward(ctx.dynamics, ctx.saved_tensors, grad_spikes)
        return *grads, None, None


class _FireAgain(torch.autograd.Function):
    """Keeps the currents in place of what they charge, which backward computes anew."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, rate: Tensor | None, backend: 'KernelBackend', dynamics: 'Dynamics'
    ) -> Tensor:
        ctx.save_for_backward(x, rate)
        ctx.backend, ctx.dynamics = backend, dynamics
        return backend.forward(dynamics, x, rate, save=False)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        # Neither the currents nor the spikes live on
        saved = ctx.backend.forward(ctx.dynamics, *ctx.saved_tensors, save=True)[1]
        grads = ctx.backend.backward(ctx.dynamics, saved, grad_spikes)
        return *grads, None, None


def fire(backend: 'KernelBackend', dynamics: 'Dynamics', x: Tensor, rate: Tensor | None) -> Tensor:
    """Spikes ``[T, ...]`` by the kernels of a backend; nothing is kept where no gradient is asked.

    Args:
        backend (KernelBackend): The kernels.
        dynamics (Dynamics): The description.
        x (Tensor): Currents, ``[T, ...]``.
        rate (Tensor | None): The learnt 1 / tau, a 0-d tensor.
    """
    learns = rate is not None and rate.requires_grad
    if torch.is_grad_enabled() and (x.requires_grad or learns):
        # What costs no memory to keep is kept
        function = _FireAgain if recomputable(x) else _Fire
        return function.apply(x, rate, backend, dynamics)
    return backend.forward(dynamics, x, rate, save=False)[0]
