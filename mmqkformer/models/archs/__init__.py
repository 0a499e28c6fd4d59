"""Architectures by name: functions from a few numbers to the stages of a backbone."""

from . import qkformer, spikformer
from .registry import ARCHITECTURES, expand_arch, register_arch

__all__ = ['ARCHITECTURES', 'expand_arch', 'qkformer', 'register_arch', 'spikformer']
