"""Spiking neurons on ``[T, ...]``: dynamics, surrogate gradients, execution backends."""

from .backends import register_backend
from .neuron import IFNeuron, LIFNeuron, PLIFNeuron, SpikingNeuron
from .surrogate import ATanSurrogate, SigmoidSurrogate, Surrogate

__all__ = [
    'ATanSurrogate',
    'IFNeuron',
    'LIFNeuron',
    'PLIFNeuron',
    'SigmoidSurrogate',
    'SpikingNeuron',
    'Surrogate',
    'register_backend',
]
