"""OpenMMLab components: backbones, necks, heads."""

from .backbones import ARCHITECTURES, QKFormer
from .heads import *  # noqa: F403
from .heads import __all__ as _heads
from .necks import PEDSNeck

__all__ = ['ARCHITECTURES', 'PEDSNeck', 'QKFormer', *_heads]
