"""Trained networks as hardware runs them."""

from .binary import BinaryExpansion, expand_to_binary
from .early_exit import EarlyExitClassifier
from .export import Agreement, export
from .flips import Flips, spike_flips
from .fuse import as_deployed, fuse
from .int8 import Int8Layer, to_int8
from .packed import load_packed, save_packed

__all__ = [
    'Agreement',
    'BinaryExpansion',
    'EarlyExitClassifier',
    'Flips',
    'Int8Layer',
    'as_deployed',
    'expand_to_binary',
    'export',
    'fuse',
    'load_packed',
    'save_packed',
    'spike_flips',
    'to_int8',
]
