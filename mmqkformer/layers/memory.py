"""Activation checkpointing that changes nothing but memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextmanager
def _running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Lets BatchNorm normalise by the batch without a second update of its running statistics."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
    norms = [
        (norm, norm.momentum, norm.num_batches_tracked.clone())
        for norm in norms
        if norm.track_running_stats
    ]
    for norm, _, _ in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, batches in norms:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)


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
