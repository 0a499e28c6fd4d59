"""Steps of a network that tell the saver, if there is one, what leaves them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call
from torch.nn import functional as F

from .saver import active


def note_spikes(x: Tensor, levels: int, unit: float) -> Tensor:
    """``x`` ``[...]``, known to be ``unit`` times whole numbers from 0 to ``levels``."""
    saver = active()
    if saver is not None:
        saver.note(x, levels, unit)
    return x


def recomputable(x: Tensor) -> bool:
    """Whether ``x`` is kept as what it can be computed from."""
    saver = active()
    return saver is not None and saver.derives(x)


def derived(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """``function(*inputs)``, which is cheap: computed again rather than kept."""
    y = function(*inputs)
    saver = active()
    if saver is not None and y.requires_grad and not any(y is x for x in inputs):
        saver.derive([y], function, inputs)
    return y


def convolved(conv: nn.Module, x: Tensor) -> Tensor:
    """``conv(x)`` ``[B, C, H, W]``, which only ``memory='recompute'`` computes again."""
    y = conv(x)
    saver = active()
    if saver is not None and y.requires_grad:
        if saver.memory == 'recompute':
            saver.derive([y], conv.forward, [x])
        else:
            saver.keep(y)
    return y


def normalised(norm: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """``y = norm(x)`` ``[B, C, H, W]``, computed again without another update of its statistics."""
    saver = active()
    if saver is not None and y is not x and y.requires_grad:
        saver.derive([y], lambda x: _norm_again(norm, x), [x])
    return y


def _norm_again(norm: nn.Module, x: Tensor) -> Tensor:
    return functional_call(norm, {name: b.clone() for name, b in norm.named_buffers()}, (x,))


def max_pooled(pool: nn.Module, x: Tensor) -> Tensor:
    """``pool(x)`` ``[B, C, H', W']``; of a max-pool no indices are kept."""
    saver = active()
    if saver is None or not isinstance(pool, nn.MaxPool2d):
        return pool(x)
    if not (saver.deriving and x.requires_grad):
        return moved(x, pool(x))
    args = tuple(_several(getattr(pool, name)) for name in _POOL)
    return moved(x, _MaxPool.apply(x, args))


class _MaxPool(torch.autograd.Function):
    """A max-pool that has told of its indices before they are saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, args: tuple) -> Tensor:
        pool = partial(F.max_pool2d_with_indices, **dict(zip(_POOL, args)))
        y, indices = pool(x)
        if (saver := active()) is not None:
            saver.derive([y, indices], pool, [x])
        ctx.save_for_backward(x, indices)
        ctx.args = args
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, indices = ctx.saved_tensors
        return _pool_backward(grad, x, *ctx.args, indices), None


_POOL = ('kernel_size', 'stride', 'padding', 'dilation', 'ceil_mode')
_pool_backward = torch.ops.aten.max_pool2d_with_indices_backward


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` ``[...]`` in another type, in which its whole numbers, if it has some, are exact."""
    return carried(x, x.to(dtype))


def carried(x: Tensor, y: Tensor) -> Tensor:
    """``y``, which is ``x`` ``[...]`` or a copy of it in another type."""
    saver = active()
    if saver is None or y is x:
        return y
    known = saver.known(x)
    if known is not None:
        saver.note(y, *known)
    elif y.requires_grad and saver.derives(x):
        saver.derive([y], partial(Tensor.to, dtype=y.dtype), [x])
    return y


def _several(value: int | tuple | bool) -> tuple | bool:
    """The operators' form of what a module has: both sides of a number."""
    return value if isinstance(value, (tuple, bool)) else (value, value)


def moved(x: Tensor, y: Tensor) -> Tensor:
    """``y``, which has the values of ``x`` in another order or number."""
    saver = active()
    if saver is not None and (known := saver.known(x)) is not None:
        saver.note(y, *known)
    return y


def added(x: Tensor, y: Tensor) -> Tensor:
    """``x + y``, a stream and the spikes of a branch, ``[...]``."""
    saver = active()
    known = saver.known(y) if saver is not None else None
    z = x + y
    return z if known is None else sum_of(z, x, *known)


def sum_of(z: Tensor, x: Tensor, levels: int, unit: float) -> Tensor:
    """``z``, which is ``x`` ``[...]`` and ``unit`` times whole numbers from 0 to ``levels``."""
    saver = active()
    known = saver.known(x) if saver is not None else None
    if known is not None and known[1] == unit:
        saver.note(z, known[0] + levels, unit)
    return z


def multiplied(x: Tensor, y: Tensor) -> Tensor:
    """``x * y``, of spikes ``[...]`` and a mask of spikes."""
    saver = active()
    known = (saver.known(x), saver.known(y)) if saver is not None else (None, None)
    z = x * y
    if None not in known and known[0][1] == known[1][1] == 1:
        saver.note(z, known[0][0] * known[1][0], 1.0)
    return z
