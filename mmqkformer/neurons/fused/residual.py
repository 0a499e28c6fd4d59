"""A neuron and the residual that its spikes are added to."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...kernels import by_step, like_steps, same_steps, together
from ...saved import added, sum_of
from ..base import SpikingNeuron
from .call import Call, call_of, kept, rate_of


def fire_and_add(neuron: SpikingNeuron, x: Tensor, residual: Tensor) -> Tensor:
    """``residual + neuron(x)``.

    Args:
        neuron (SpikingNeuron): The neuron.
        x (Tensor): Currents, ``[T, ...]``.
        residual (Tensor): What the spikes are added to, of the same shape.
    """
    call = call_of(neuron, x, residual) if x.shape == residual.shape else None
    if call is None:
        return added(residual, neuron(x))
    out = _FireAndAdd.apply(x, residual, rate_of(neuron), call)
    return sum_of(out, residual, neuron.levels, neuron.unit)


class _FireAndAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, rate: Tensor | None, call: Call) -> Tensor:
        x = by_step(x)
        residual = same_steps(residual, x)
        out = like_steps(x[0], x)
        count, size = x[0].numel(), together(x, residual)
        given = (x, x.stride(0), residual, residual.stride(0), out, count)
        call.launch('fire_forward', x, count // size, rate, *given, together=size)
        ctx.save_for_backward(*kept(x, rate))
        ctx.call = call
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        call = ctx.call
        grad_x, grad_rate = call.backend.backward(call.dynamics, ctx.saved_tensors, grad)
        return grad_x, grad, grad_rate, None
