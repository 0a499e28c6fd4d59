"""BatchNorm and the neuron behind it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...kernels import by_step, like_steps, same_steps, together, wide_type
from ...saved import normalised, note_spikes
from ...time_axis import merge_time, split_time
from ..base import SpikingNeuron
from .call import Call, call_of, kept, rate_of

# Neurons, or packs of neighbours, that a thread adds up: fewer would write more than they read
_A_PART = 16


def norm_and_fire(norm: nn.Module, neuron: SpikingNeuron, x: Tensor) -> Tensor:
    """``neuron(norm(x))``, with PyTorch's BatchNorm over the T*B steps of all images.

    The statistics are computed first; backward computes currents and charges again from ``x``.

    Args:
        norm (nn.Module): The norm of ``[T * B, C, ...]``.
        neuron (SpikingNeuron): The neuron.
        x (Tensor): ``[T, B, C, ...]``.
    """
    plain = type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    fits = plain and norm.track_running_stats and norm.momentum is not None
    call = call_of(neuron, x, instead_of=[norm]) if fits else None
    if call is None:
        merged = merge_time(x)
        return neuron(split_time(normalised(norm, merged, norm(merged)), x.size(0)))
    wide = wide_type(x.dtype)
    mean, var = _statistics(norm, x) if norm.training else (norm.running_mean, norm.running_var)
    mean, invstd = mean.to(wide), (var.to(wide) + norm.eps).rsqrt()
    weight = torch.ones_like(mean) if norm.weight is None else norm.weight.to(wide)
    bias = torch.zeros_like(mean) if norm.bias is None else norm.bias.to(wide)
    given = (x, weight, bias, rate_of(neuron), mean, invstd, norm.training, call)
    return note_spikes(_NormAndFire.apply(*given), neuron.levels, neuron.unit)


@torch.no_grad()
def _statistics(norm: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the channels of ``[T, B, C, ...]``, which the running ones follow."""
    norm.num_batches_tracked += 1
    running = (norm.running_mean, norm.running_var)
    return torch.batch_norm_update_stats(merge_time(x), *running, norm.momentum)


class _NormAndFire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        rate: Tensor | None,
        mean: Tensor,
        invstd: Tensor,
        training: bool,
        call: Call,
    ) -> Tensor:
        x = by_step(x)
        spikes = like_steps(x[0], x)
        count, size = x[0].numel(), together(x, among=_alike(x))
        norm = (mean, invstd, weight, bias, x.size(2), _apart(x))
        given = (x, x.stride(0), spikes, count, *norm)
        call.launch('norm_fire_forward', x, count // size, rate, *given, together=size)
        ctx.save_for_backward(*kept(x, weight, bias, mean, invstd, rate))
        ctx.call, ctx.training = call, training
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, invstd, *learnt = ctx.saved_tensors
        call, rate = ctx.call, learnt[0] if learnt else None
        grad_spikes = same_steps(grad_spikes, x)
        count, channels = x[0].numel(), x.size(2)
        norm = (mean, invstd, weight, bias, channels, _apart(x))
        given = (x, x.stride(0), grad_spikes, grad_spikes.stride(0))
        size = together(x, grad_spikes, among=_alike(x))
        # Of neighbouring channels, or of neighbours of one
        groups = channels // size if _apart(x) == 1 else channels
        parts = max(1, call.threads(count // size // _A_PART) // groups)
        sums = mean.new_empty(3, channels, parts)
        summed = (*given, *sums, count, parts, *norm)
        call.launch('norm_fire_sums', x, groups * parts, rate, *summed, together=size)
        grad_bias, grad_weight, grad_rates = sums.sum(-1)
        means = torch.stack([grad_bias, grad_weight])
        means = means / (x.numel() // channels) if ctx.training else torch.zeros_like(means)
        grad_x = like_steps(x[0], x)
        given = (*given, grad_x, *means, count, *norm)
        call.launch('norm_fire_backward', x, count // size, rate, *given, together=size)
        grad_rate = None if rate is None else grad_rates.sum().to(rate.dtype)
        return grad_x, grad_weight, grad_bias, grad_rate, None, None, None, None


def _apart(x: Tensor) -> int:
    """How many elements the channels of ``[T, B, C, ...]`` lie apart."""
    return x.stride(2) if x.size(2) > 1 else x[0, 0].numel()


def _alike(x: Tensor) -> int:
    """Elements of ``[T, B, C, ...]`` between two channels, or the channels that are neighbours."""
    apart = _apart(x)
    return x.size(2) if apart == 1 else apart
