"""Heads; they build on mmpretrain and exist where it is installed."""

from importlib.util import find_spec

__all__ = []

if find_spec('mmpretrain') is not None:
    from .spiking_cls_head import SpikingClsHead

    __all__ += ['SpikingClsHead']
