"""Activation checkpointing that changes nothing but memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ..saved import suspended
from .running_rate import RunningRate


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


@contextmanager
def _first_run(rates: list[RunningRate], values: list[Tensor]) -> Iterator[None]:
    """Notes the running rates that a forward pass has used; it saves what its repetition does."""
    with suspended():
        yield
    values.extend(rate.rate.clone() for rate in rates)


@contextmanager
def _with_rates(rates: list[RunningRate], values: list[Tensor]) -> Iterator[None]:
    """Uses noted rates, whatever they have become since, and leaves them as they are."""
    before = [(rate, rate.momentum, rate.rate.clone()) for rate in rates]
    for rate, value in zip(rates, values, strict=True):
        rate.momentum = 0.0
        rate.rate.copy_(value)
    try:
        yield
    finally:
        for rate, momentum, value in before:
            rate.momentum = momentum
            rate.rate.copy_(value)


@contextmanager
def _recomputing(
    module: nn.Module, rates: list[RunningRate], values: list[Tensor]
) -> Iterator[None]:
    with _running_statistics_kept(module), _with_rates(rates, values):
        yield


def checkpointed(module: Callable[..., Tensor], *args) -> Tensor:
    """Calls ``module(*args)``, recomputing its activations in the backward pass.

    Random numbers (drop path) are replayed and running statistics are updated once.
    """
    rates = [m for m in module.modules() if isinstance(m, RunningRate)]
    values: list[Tensor] = []
    return checkpoint(
        module,
        *args,
        use_reentrant=False,
        context_fn=lambda: (
            _first_run(rates, values),
            _recomputing(module, rates, values),
        ),
    )
