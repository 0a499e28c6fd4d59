"""Multi-step integrate-and-fire dynamics in plain PyTorch: the reference of the project."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .surrogate import Surrogate

# None: no leak (IF). A float: the time constant tau (LIF). A 0-d tensor: 1 / tau, learnt (PLIF).
Leak = float | Tensor | None


def charge(x: Tensor, v: Tensor, leak: Leak, v_rest: float) -> Tensor:
    """Membrane potential H[t] before firing.

    ``H[t] = V[t-1] + (X[t] - (V[t-1] - V_reset)) / tau`` (paper, Eq. 1), or
    ``H[t] = V[t-1] + X[t]`` without leak. The order of the operations is SpikingJelly's, so that
    the two round alike and fire alike.

    Args:
        x (Tensor): Input current of one step, ``[...]``.
        v (Tensor): Potential after the last step, ``[...]``.
        leak (float | Tensor | None): tau, 1 / tau as a tensor, or None.
        v_rest (float): Potential that the leak pulls to.
    """
    if leak is None:
        return v + x
    if isinstance(leak, Tensor):
        return v + (x - (v - v_rest)) * leak
    return v + (x - (v - v_rest)) / leak


def reset(h: Tensor, spike: Tensor, v_threshold: float, v_reset: float | None) -> Tensor:
    """Potential after firing: V_reset where a spike was (paper, Eq. 3), or H - V_th if None."""
    if v_reset is None:
        return h - spike * v_threshold
    return spike * v_reset + (1.0 - spike) * h


class _MultiStepFire(torch.autograd.Function):
    """Spikes of all steps; keeps only H for the backward pass (and X, where 1 / tau is learnt)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        leak: Leak,
        v_threshold: float,
        v_reset: float | None,
        surrogate: Surrogate,
        detach_reset: bool,
    ) -> Tensor:
        v_rest = v_reset or 0.0
        # In the memory format of x: the next convolution takes what the last one gave
        h = torch.empty_like(x)
        spikes = torch.empty_like(h)
        v = torch.full_like(x[0], v_rest)
        for t in range(x.size(0)):
            h[t] = charge(x[t], v, leak, v_rest)
            spikes[t] = h[t] >= v_threshold
            v = reset(h[t], spikes[t], v_threshold, v_reset)
        learnt = isinstance(leak, Tensor)
        ctx.save_for_backward(h, *((x, leak) if learnt else ()))
        ctx.tau = None if learnt else leak
        ctx.v_threshold, ctx.v_reset = v_threshold, v_reset
        ctx.surrogate, ctx.detach_reset = surrogate, detach_reset
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        h, *learnt = ctx.saved_tensors
        x, rate = learnt if learnt else (None, 1.0 if ctx.tau is None else 1.0 / ctx.tau)
        v_rest = ctx.v_reset or 0.0
        grad_x = torch.empty_like(h)
        grad_rate = torch.zeros_like(rate) if learnt else None
        grad_v = torch.zeros_like(h[0])
        for t in range(h.size(0) - 1, -1, -1):
            spike = (h[t] >= ctx.v_threshold).to(h.dtype)
            slope = ctx.surrogate.derivative(h[t] - ctx.v_threshold)
            grad_h = grad_spikes[t] * slope
            if ctx.v_reset is None:
                grad_h += grad_v
                jump = -ctx.v_threshold
            else:
                grad_h += grad_v * (1.0 - spike)
                jump = ctx.v_reset - h[t]
            if not ctx.detach_reset:
                grad_h += grad_v * jump * slope
            grad_x[t] = grad_h * rate
            grad_v = grad_h if ctx.tau is None and not learnt else grad_h - grad_x[t]
            if learnt:
                if t == 0:
                    v_before = torch.full_like(h[0], v_rest)
                else:
                    fired = (h[t - 1] >= ctx.v_threshold).to(h.dtype)
                    v_before = reset(h[t - 1], fired, ctx.v_threshold, ctx.v_reset)
                grad_rate += (grad_h * (x[t] - (v_before - v_rest))).sum()
        return grad_x, grad_rate, None, None, None, None


def multi_step_fire(
    x: Tensor,
    leak: Leak,
    v_threshold: float,
    v_reset: float | None,
    surrogate: Surrogate,
    detach_reset: bool,
) -> Tensor:
    """Runs a layer of neurons over all time steps, starting from ``V = V_reset``.

    ``S[t] = 1 if H[t] >= V_th else 0`` (paper, Eq. 2), with :func:`charge` before and
    :func:`reset` after it.

    Args:
        x (Tensor): Input currents, ``[T, ...]``, float32 or float64.
        leak (float | Tensor | None): See :func:`charge`.
        v_threshold (float): Firing threshold.
        v_reset (float | None): Potential after a spike; None subtracts the threshold instead.
        surrogate (Surrogate): Derivative of the spike.
        detach_reset (bool): Whether the reset carries no gradient.

    Returns:
        Tensor: Spikes, 0 or 1, of the shape and type of ``x``.
    """
    learnt = isinstance(leak, Tensor)
    if torch.is_grad_enabled() and (x.requires_grad or (learnt and leak.requires_grad)):
        return _MultiStepFire.apply(x, leak, v_threshold, v_reset, surrogate, detach_reset)
    v_rest = v_reset or 0.0
    spikes = torch.empty_like(x)
    v = torch.full_like(x[0], v_rest)
    for t in range(x.size(0)):
        h = charge(x[t], v, leak, v_rest)
        spikes[t] = h >= v_threshold
        v = reset(h, spikes[t], v_threshold, v_reset)
    return spikes
