"""Heads; they build on mmpretrain and exist where it is installed."""

from ...version import has_mmpretrain

__all__ = []

if has_mmpretrain():
    from .spiking_cls_head import SpikingClsHead

    __all__ += ['SpikingClsHead']
