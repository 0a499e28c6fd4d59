"""OpenMMLab components: backbones, necks, heads, data preprocessors."""

from .backbones import ARCHITECTURES, QKFormer
from .data_preprocessors import *  # noqa: F403
from .data_preprocessors import __all__ as _data_preprocessors
from .heads import *  # noqa: F403
from .heads import __all__ as _heads
from .necks import PEDSNeck

__all__ = ['ARCHITECTURES', 'PEDSNeck', 'QKFormer', *_data_preprocessors, *_heads]
