"""Execution backends of the neurons: several ways to compute the same spikes and gradients."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .dynamics import multi_step_fire

if TYPE_CHECKING:
    from .neuron import SpikingNeuron

Backend = Callable[['SpikingNeuron', Tensor], Tensor]
_BACKENDS: dict[str, Backend] = {}


def register_backend(name: str) -> Callable[[Backend], Backend]:
    """Registers a function ``(neuron, x [T, ...]) -> spikes [T, ...]`` under a name.

    ``x`` arrives in float32 or float64. A backend must start every call from ``V = V_reset`` and
    agree with ``torch`` in spikes and gradients.
    """

    def add(backend: Backend) -> Backend:
        _BACKENDS[name] = backend
        return backend

    return add


def get_backend(name: str) -> Backend:
    """Returns the backend of that name; ``auto`` is the fastest one for everybody, ``torch``.

    Raises:
        ValueError: The name is not registered.
    """
    if name == 'auto':
        name = 'torch'
    if name not in _BACKENDS:
        known = ', '.join(repr(known) for known in ['auto', *sorted(_BACKENDS)])
        raise ValueError(f'neuron.backend={name!r} is unknown: expected one of {known}')
    return _BACKENDS[name]


@register_backend('torch')
def torch_backend(neuron: 'SpikingNeuron', x: Tensor) -> Tensor:
    """Reference implementation; runs on every device that PyTorch has."""
    return multi_step_fire(
        x, neuron.leak(), neuron.v_threshold, neuron.v_reset, neuron.surrogate, neuron.detach_reset
    )


@register_backend('spikingjelly')
def spikingjelly_backend(neuron: 'SpikingNeuron', x: Tensor) -> Tensor:
    """Delegates to SpikingJelly 2.x; the node lives for one call, so no state outlives it."""
    try:
        node = neuron.to_spikingjelly()
    except ImportError as error:
        raise ImportError(
            "neuron.backend='spikingjelly' needs SpikingJelly 2.x: pip install spikingjelly"
        ) from error
    node.train(neuron.training)
    # SpikingJelly computes in the type of V; under autocast ours must stay in that of x.
    with torch.autocast(x.device.type, enabled=False):
        return node(x)
