"""OpenMMLab components: backbones, necks, heads, classifiers, data preprocessors."""

from .archs import ARCHITECTURES
from .backbones import QKFormer, SpikingBackbone
from .classifiers import *  # noqa: F403
from .classifiers import __all__ as _classifiers
from .data_preprocessors import *  # noqa: F403
from .data_preprocessors import __all__ as _data_preprocessors
from .heads import *  # noqa: F403
from .heads import __all__ as _heads
from .initialisers import LastNorm
from .necks import PEDSNeck, SpikingFPN

__all__ = [
    'ARCHITECTURES',
    'LastNorm',
    'PEDSNeck',
    'QKFormer',
    'SpikingBackbone',
    'SpikingFPN',
    *_classifiers,
    *_data_preprocessors,
    *_heads,
]
