"""Spiking neurons on ``[T, ...]``: dynamics, surrogate gradients, execution backends."""

from .backends import register_backend
from .neuron import (
    BatchLeakingNeuron,
    IFNeuron,
    LIFNeuron,
    PLIFNeuron,
    SpikingNeuron,
    with_threshold,
)
from .surrogate import ATanSurrogate, SigmoidSurrogate, Surrogate

__all__ = [
    'ATanSurrogate',
    'BatchLeakingNeuron',
    'IFNeuron',
    'LIFNeuron',
    'PLIFNeuron',
    'SigmoidSurrogate',
    'SpikingNeuron',
    'Surrogate',
    'register_backend',
    'with_threshold',
]
