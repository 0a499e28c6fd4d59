"""Execution backends of the neurons: several ways to compute the same spikes and gradients."""

# In the order of registration: ``auto`` takes the last that supports a call
from . import torch, spikingjelly, compiled, cupy  # isort: skip
from .registry import Backend, KernelBackend, choose_backend, register_backend

__all__ = [
    'Backend',
    'KernelBackend',
    'choose_backend',
    'compiled',
    'cupy',
    'register_backend',
    'spikingjelly',
    'torch',
]
