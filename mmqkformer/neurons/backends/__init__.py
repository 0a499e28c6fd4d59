"""Execution backends of the neurons: several ways to compute the same spikes and gradients."""

from . import spikingjelly, torch
from .registry import Backend, KernelBackend, choose_backend, register_backend

__all__ = [
    'Backend',
    'KernelBackend',
    'choose_backend',
    'register_backend',
    'spikingjelly',
    'torch',
]
