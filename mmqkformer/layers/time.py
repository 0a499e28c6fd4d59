"""The one place where the time axis is merged into the batch and split off again (time-major)."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..saved import moved


def merge_time(x: Tensor) -> Tensor:
    """``[T, B, ...] -> [T*B, ...]``; row ``t * B + b`` is step t of sample b."""
    return x.flatten(0, 1)


def split_time(x: Tensor, time_steps: int) -> Tensor:
    """``[T*B, ...] -> [T, B, ...]``."""
    return x.unflatten(0, (time_steps, -1))


def each_step(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What a function of images ``[B, ...]`` makes of every step of ``[T, B, ...]``, at once."""
    return split_time(function(merge_time(x)), x.size(0))


def in_format_of(x: Tensor, y: Tensor) -> Tensor:
    """``y`` ``[T, B, C, H, W]``, its steps in channels-last memory if those of ``x`` are."""
    if not merge_time(x).is_contiguous(memory_format=torch.channels_last):
        return y
    given, y = y, merge_time(y).contiguous(memory_format=torch.channels_last)
    return moved(given, split_time(y, x.size(0)))


def wide_dtype(x: Tensor) -> torch.dtype:
    """Type in which counts of spikes are summed: float32 for half precision, else that of ``x``.

    float16 is exact for integers up to 2048 only, fewer than the tokens of a feature map.
    """
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def mean_over_time(x: Tensor) -> Tensor:
    """Mean over time, ``[T, B, ...] -> [B, ...]``; of a spike train its firing rates."""
    return x.mean(0, dtype=wide_dtype(x))
