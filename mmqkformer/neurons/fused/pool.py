"""Max pooling and the neuron behind it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...kernels import by_step, like_steps, same_steps, together
from ...saved import max_pooled, note_spikes
from ...time_axis import merge_time, split_time
from ..base import SpikingNeuron
from .call import Call, call_of, kept, rate_of


def steps_are_equal(x: Tensor) -> bool:
    """Whether ``[T, B, ...]`` is one step, expanded: all steps are the same memory."""
    return x.size(0) > 1 and x.stride(0) == 0


def pooled(pool: nn.Module, x: Tensor) -> Tensor:
    """``[T, B, C, H, W]``, pooled; of equal steps one is computed.

    Args:
        pool (nn.Module): Pool of feature maps ``[B, C, H, W]``.
        x (Tensor): ``[T, B, C, H, W]``.
    """
    steps = x[:1] if steps_are_equal(x) else x
    y = split_time(max_pooled(pool, merge_time(steps)), steps.size(0))
    return y.expand(x.size(0), *y.shape[1:])


def pool_and_fire(pool: nn.Module, neuron: SpikingNeuron, x: Tensor) -> Tensor:
    """``neuron(pool(x))``, with pooling of every step; kernels compute max pooling.

    Args:
        pool (nn.Module): The pooling.
        neuron (SpikingNeuron): The neuron.
        x (Tensor): ``[T, B, C, H, W]``.
    """
    # Of equal steps one is pooled, which no kernel does
    fits = _fits(pool) and not steps_are_equal(x)
    call = call_of(neuron, x, instead_of=[pool]) if fits else None
    if call is None:
        return neuron(pooled(pool, x))
    spikes = _PoolAndFire.apply(x, rate_of(neuron), pool, call)
    return note_spikes(spikes, neuron.levels, neuron.unit)


def _fits(pool: nn.Module) -> bool:
    if type(pool) is not nn.MaxPool2d or pool.dilation != 1 or pool.return_indices:
        return False
    sizes = (pool.kernel_size, pool.stride, pool.padding)
    # A place in a window is kept as a byte
    return all(isinstance(size, int) for size in sizes) and pool.kernel_size < 16


class _PoolAndFire(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: Tensor | None, pool: nn.MaxPool2d, call: Call) -> Tensor:
        x = by_step(x)
        # Shape and layout of a step
        step = pool(torch.empty_like(x[0], device='meta'))
        spikes = like_steps(step, x)
        window = _window(x, spikes, pool)
        size = _together(x)
        given = (x, x.stride(0), spikes, step.numel(), *window)
        call.launch('pool_fire_forward', x, step.numel() // size, rate, *given, together=size)
        ctx.save_for_backward(*kept(x, rate))
        ctx.call, ctx.step, ctx.window = call, step, window
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        x, *learnt = ctx.saved_tensors
        call, rate, count = ctx.call, learnt[0] if learnt else None, ctx.step.numel()
        grad_pooled = like_steps(ctx.step, grad_spikes)
        grad_spikes = same_steps(grad_spikes, grad_pooled)
        where = like_steps(ctx.step, grad_spikes, torch.uint8)
        size = _together(x, grad_spikes)
        sums = call.sums(x, count // size) if learnt else None
        given = (x, x.stride(0), grad_spikes, grad_spikes.stride(0), grad_pooled, where, sums)
        given = (*given, count, *ctx.window)
        call.launch('pool_fire_gradients', x, count // size, rate, *given, together=size)
        grad_x = like_steps(x[0], x)
        inputs = x[0].numel()
        given = (grad_pooled, where, count, grad_x, inputs, *ctx.window)
        launch = call.backend.launcher.launch
        launch('pool_backward', x, inputs // size, *given, together=size)
        return grad_x, sums.sum().to(rate.dtype) if learnt else None, None, None


def _together(*tensors: Tensor) -> int:
    """Lanes are neighbouring channels ``[T, B, C, H, W]``: one, unless channels are last."""
    x = tensors[0]
    channels_last = x.size(2) > 1 and x.stride(2) == 1
    return together(*tensors, among=x.size(2) if channels_last else 1)


def _window(x: Tensor, pooled: Tensor, pool: nn.MaxPool2d) -> tuple[int, ...]:
    """``POOL`` in pool.cu."""
    sizes = (*x.shape[1:], *_strides(x[0]), *pooled.shape[3:], *_strides(pooled[0]))
    return *sizes, pool.kernel_size, pool.stride, pool.padding


def _strides(step: Tensor) -> tuple[int, ...]:
    """Strides of a step; an axis of size 1 may have any, 0 as well, by which nothing divides."""
    return tuple(s if n > 1 else step.numel() for s, n in zip(step.stride(), step.shape))
