"""Trained networks as hardware runs them."""

from .binary import BinaryExpansion, expand_to_binary
from .flips import Flips, spike_flips
from .fuse import fuse
from .packed import load_packed, save_packed

__all__ = [
    'BinaryExpansion',
    'Flips',
    'expand_to_binary',
    'fuse',
    'load_packed',
    'save_packed',
    'spike_flips',
]
