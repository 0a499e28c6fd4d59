"""The one place where the time axis is merged into the batch and split off again (time-major)."""

from torch import Tensor


def merge_time(x: Tensor) -> Tensor:
    """``[T, B, ...] -> [T*B, ...]``; row ``t * B + b`` is step t of sample b."""
    # Of two axes of size 1 PyTorch's views make one of an arbitrary stride, by which operators no
    # longer know that channels are last: a pool of one image then takes ten times as long
    return x.squeeze(0) if x.size(0) == 1 else x.flatten(0, 1)


def split_time(x: Tensor, time_steps: int) -> Tensor:
    """``[T*B, ...] -> [T, B, ...]``."""
    return x.unsqueeze(0) if time_steps == 1 else x.unflatten(0, (time_steps, -1))
