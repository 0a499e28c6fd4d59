"""Trained networks as hardware runs them."""

from .binary import BinaryExpansion, expand_to_binary
from .packed import load_packed, save_packed

__all__ = ['BinaryExpansion', 'expand_to_binary', 'load_packed', 'save_packed']
