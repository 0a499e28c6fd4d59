"""Data sets, samplers and transforms."""

from .digits import Digits

__all__ = ['Digits']
