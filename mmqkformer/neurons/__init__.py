"""Spiking neurons on ``[T, ...]``: dynamics, surrogate gradients, execution backends."""

from .backends import Backend, KernelBackend, register_backend
from .base import SpikingNeuron
from .integer import ILIFNeuron, MultiSpikeNeuron
from .integrate import (
    BatchLeakingNeuron,
    IFNeuron,
    IntegrateAndFire,
    LIFNeuron,
    PLIFNeuron,
    with_threshold,
)
from .surrogate import (
    ATanSurrogate,
    RectangularSurrogate,
    SigmoidSurrogate,
    Surrogate,
    TriangularSurrogate,
)

__all__ = [
    'ATanSurrogate',
    'Backend',
    'BatchLeakingNeuron',
    'IFNeuron',
    'ILIFNeuron',
    'IntegrateAndFire',
    'KernelBackend',
    'LIFNeuron',
    'MultiSpikeNeuron',
    'PLIFNeuron',
    'RectangularSurrogate',
    'SigmoidSurrogate',
    'SpikingNeuron',
    'Surrogate',
    'TriangularSurrogate',
    'register_backend',
    'with_threshold',
]
