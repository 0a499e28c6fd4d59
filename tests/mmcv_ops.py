"""A stand-in for mmcv's compiled operators, so that mmdet imports where mmcv-lite is installed."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType


class _MissingOps(ModuleType):
    """Has every operator that is asked for; each raises when it is called."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise RuntimeError(f'mmcv.ops.{name} needs mmcv with compiled operators')

        return missing


def install() -> None:
    """Puts the stand-in at ``mmcv._ext`` unless a real build is there."""
    if importlib.util.find_spec('mmcv._ext') is None:
        module = _MissingOps('mmcv._ext')
        module.__spec__ = ModuleSpec('mmcv._ext', loader=None)
        sys.modules['mmcv._ext'] = module
