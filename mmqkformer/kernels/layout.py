"""How tensors ``[T, ...]`` lie in memory, and how many neighbours a thread takes of them."""

import torch
from torch import Tensor

# Bytes that a thread reads or writes at once
_ACCESS = 8


def together(*tensors: Tensor, among: int | None = None) -> int:
    """How many neighbours a thread takes at once: those of 8 bytes, or one where they do not fit.

    Narrow types reach a card's bandwidth in no other way.

    Args:
        *tensors (Tensor): What is read, ``[T, ...]``, of one type; a step is one block of memory.
        among (int | None): Number of neighbours that are alike. Defaults to None, a whole step.
    """
    first = tensors[0]
    neighbours = _ACCESS // first.element_size()
    sizes = [x[0].numel() if among is None else among for x in tensors]
    # Of one step the stride is nobody's
    steps = [x.stride(0) if x.size(0) > 1 else 0 for x in tensors]
    fit = all(size % neighbours == 0 for size in (*sizes, *steps))
    return neighbours if fit and all(x.data_ptr() % _ACCESS == 0 for x in tensors) else 1


def is_block(x: Tensor) -> bool:
    """Whether the elements of a tensor fill one block of memory, in any order of its axes."""
    expected = 1
    for stride, size in sorted(zip(x.stride(), x.shape)):
        if size == 1:
            continue
        if stride != expected:
            return x.numel() == 0
        expected *= size
    return True


def by_step(x: Tensor) -> Tensor:
    """``x`` ``[T, ...]``, copied if a step is not one block of memory; the steps lie anyhow."""
    return x if is_block(x[0]) else like_steps(torch.empty_like(x[0], device='meta'), x).copy_(x)


def like_steps(step: Tensor, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """An empty tensor of as many steps as ``x`` ``[T, ...]``, one behind the other.

    Args:
        step (Tensor): One block of memory, whose shape and layout are those of a step.
        x (Tensor): The tensor of T steps, whose device it is on.
        dtype (torch.dtype | None): Its type. Defaults to None, that of ``x``.
    """
    shape, strides = (x.size(0), *step.shape), (step.numel(), *step.stride())
    return torch.empty_strided(shape, strides, dtype=dtype or x.dtype, device=x.device)


def same_steps(grad: Tensor, x: Tensor) -> Tensor:
    """``grad`` ``[T, ...]``, copied if its steps are not laid out as those of ``x``."""
    pairs = zip(grad.stride()[1:], x.stride()[1:], x.shape[1:])
    same = all(size == 1 or ours == theirs for ours, theirs, size in pairs)
    return grad if same else like_steps(x[0], x, grad.dtype).copy_(grad)
