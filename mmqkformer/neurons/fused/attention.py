"""Q-K token attention: sum, neuron and mask."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...kernels import by_step, like_steps, same_steps, together, wide_type
from ...saved import cast, moved, multiplied
from ..base import SpikingNeuron
from .call import Call, call_of, kept, rate_of


def token_attention(
    neuron: SpikingNeuron,
    query: Tensor,
    key: Tensor,
    num_heads: int,
    tap: nn.Module | None = None,
) -> Tensor:
    """Q-K token attention (paper, Eq. 9 and 10): ``K`` where the neuron fires on the sum of ``Q``.

    The sum is over the channels of a head; of each head a token passes or does not.

    Args:
        neuron (SpikingNeuron): The mask's neuron.
        query (Tensor): Spikes, ``[T, B, C, ...]``.
        key (Tensor): Spikes, of the same shape.
        num_heads (int): Heads, which divide C.
        tap (nn.Module | None): What the mask ``[T, B, heads, ...]`` passes, to be seen there by a
            hook. Defaults to None.
    """
    taps = [] if tap is None else [tap]
    call = call_of(neuron, query, key, instead_of=taps) if query.shape == key.shape else None
    if call is not None:
        out = _TokenAttention.apply(query, key, rate_of(neuron), num_heads, call)
        return moved(key, out)
    mask = token_mask(neuron, query, num_heads)
    mask = mask if tap is None else tap(mask)
    heads = moved(key, key.unflatten(2, (num_heads, -1)))
    passed = multiplied(heads, moved(mask, mask.unsqueeze(3)))
    return moved(passed, passed.flatten(2, 3))


def token_mask(neuron: SpikingNeuron, query: Tensor, num_heads: int) -> Tensor:
    """Where the neuron fires on the sum of each head's channels, ``[T, B, heads, ...]``.

    Args:
        neuron (SpikingNeuron): The mask's neuron.
        query (Tensor): Spikes, ``[T, B, C, ...]``.
        num_heads (int): Heads, which divide C.
    """
    counts = query.unflatten(2, (num_heads, -1)).sum(3, dtype=wide_type(query.dtype))
    return cast(neuron(counts), query.dtype)


class _TokenAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, rate: Tensor | None, num_heads: int, call: Call
    ) -> Tensor:
        query = by_step(query)
        if not _tokens_in_a_row(query):
            query = query.contiguous()
        key = same_steps(key, query)
        out = like_steps(query[0], query)
        count, tokens, work = _tokens(query, num_heads)
        given = (query, query.stride(0), key, key.stride(0), out, count, *tokens)
        shared = _shared(call, query, key, num_heads=num_heads)
        call.launch('token_attention_forward', query, work, rate, *given, **shared)
        ctx.save_for_backward(*kept(query, key, rate))
        ctx.call, ctx.num_heads = call, num_heads
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, *learnt = ctx.saved_tensors
        call, rate = ctx.call, learnt[0] if learnt else None
        grad = same_steps(grad, query)
        grad_query, grad_key = like_steps(query[0], query), like_steps(query[0], query)
        count, tokens, work = _tokens(query, ctx.num_heads)
        shared = _shared(call, query, key, grad, num_heads=ctx.num_heads)
        sums = call.sums(query, work * shared['group']) if learnt else None
        given = (query, query.stride(0), key, key.stride(0), grad, grad.stride(0))
        given = (*given, grad_query, grad_key, sums, count, *tokens)
        call.launch('token_attention_backward', query, work, rate, *given, **shared)
        grad_rate = sums.sum().to(rate.dtype) if learnt else None
        return grad_query, grad_key, grad_rate, None, None


def _tokens_in_a_row(x: Tensor) -> bool:
    """Whether the tokens of ``[T, B, C, ...]`` are one axis of one stride."""
    try:
        x[0].view(*x.shape[1:3], -1)
    except RuntimeError:
        return False
    return True


def _shared(call: Call, *tensors: Tensor, num_heads: int) -> dict[str, int]:
    """How the channels of a head are shared: by neighbours and a warp, where channels are last."""
    query = tensors[0]
    if query.size(2) == 1 or query.stride(2) != 1:
        return dict(together=1, group=1)
    width = query.size(2) // num_heads
    size = together(*tensors, among=width)
    return dict(together=size, group=call.group(width // size))


def _tokens(x: Tensor, num_heads: int) -> tuple[int, tuple[int, ...], int]:
    """Elements of a step, ``TOKENS`` in attention.cu, and the number of threads' items."""
    rows = x[0].view(*x.shape[1:3], -1)
    batch, channels, tokens = rows.shape
    sizes = (batch, num_heads, channels // num_heads, tokens)
    return rows.numel(), (*sizes, *rows.stride()), batch * num_heads * tokens
