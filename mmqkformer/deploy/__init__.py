"""Trained networks as hardware runs them."""

from .binary import BinaryExpansion, expand_to_binary
from .fuse import fuse
from .packed import load_packed, save_packed

__all__ = ['BinaryExpansion', 'expand_to_binary', 'fuse', 'load_packed', 'save_packed']
