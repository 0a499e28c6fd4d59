"""What is done to each step, and over all of them, of ``[T, B, ...]``."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..saved import moved
from ..time_axis import merge_time, split_time


def each_step(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What a function of images ``[B, ...]`` makes of every step of ``[T, B, ...]``, at once."""
    return split_time(function(merge_time(x)), x.size(0))


def in_format_of(x: Tensor, y: Tensor) -> Tensor:
    """``y`` ``[T, B, C, H, W]``, its steps in channels-last memory if those of ``x`` are."""
    return moved(y, _channels_last(y)) if _is_channels_last(x) else y


def with_gradient_in_format(x: Tensor) -> Tensor:
    """``x`` ``[T, B, C, H, W]``, whose gradient comes in channels-last memory if ``x`` is.

    A mean over tokens gives its gradient channels first, and sums of two layouts keep the first:
    every layer back to the input would copy it.
    """
    if x.requires_grad and not torch.compiler.is_compiling() and _is_channels_last(x):
        x.register_hook(_channels_last)
    return x


def _is_channels_last(x: Tensor) -> bool:
    return merge_time(x).is_contiguous(memory_format=torch.channels_last)


def _channels_last(x: Tensor) -> Tensor:
    return split_time(merge_time(x).contiguous(memory_format=torch.channels_last), x.size(0))


def wide_dtype(x: Tensor) -> torch.dtype:
    """Type in which counts of spikes are summed: float32 for half precision, else that of ``x``.

    float16 is exact for integers up to 2048 only, fewer than the tokens of a feature map.
    """
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def mean_over_time(x: Tensor) -> Tensor:
    """Mean over time, ``[T, B, ...] -> [B, ...]``; of a spike train its firing rates."""
    return x.mean(0, dtype=wide_dtype(x))
