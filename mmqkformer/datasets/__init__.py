"""Data sets, samplers and transforms; some exist only where mmpretrain is installed."""

from ..version import has_mmpretrain
from .digits import Digits
from .event_datasets import CIFAR10DVS, DVS128Gesture, EventDataset
from .samplers import ContiguousBatchSampler, SeededSampler
from .transforms import *  # noqa: F403
from .transforms import __all__ as _transforms

__all__ = [
    'CIFAR10DVS',
    'ContiguousBatchSampler',
    'DVS128Gesture',
    'Digits',
    'EventDataset',
    'SeededSampler',
    *_transforms,
]

if has_mmpretrain():
    from .cifar import BGRCIFAR10, BGRCIFAR100

    __all__ += ['BGRCIFAR10', 'BGRCIFAR100']
