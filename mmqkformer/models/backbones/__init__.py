"""Backbones."""

from .arch import ARCHITECTURES
from .qkformer import QKFormer

__all__ = ['ARCHITECTURES', 'QKFormer']
