"""Activation checkpointing that changes nothing but memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextmanager
def _running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Lets BatchNorm normalise by the batch without a second update of its running statistics."""
    norms = [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def checkpointed(module: Callable[..., Tensor], *args) -> Tensor:
    """Calls ``module(*args)``, recomputing its activations in the backward pass.

    Random numbers (drop path) are replayed and running statistics are updated once.
    """
    return checkpoint(
        module,
        *args,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _running_statistics_kept(module)),
    )
