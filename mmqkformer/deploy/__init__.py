"""Trained networks as hardware runs them."""

from .binary import BinaryExpansion, expand_to_binary

__all__ = ['BinaryExpansion', 'expand_to_binary']
