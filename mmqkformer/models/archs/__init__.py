"""Architectures by name: functions from a few numbers to the stages of a backbone.

Each family is one module of this folder. All are imported.
"""

import importlib
import pkgutil

from .registry import ARCHITECTURES, expand_arch, register_arch

__all__ = ['ARCHITECTURES', 'expand_arch', 'register_arch']

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f'{__name__}.{_module.name}')
