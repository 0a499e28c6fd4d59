"""Data sets, samplers and transforms; the CIFAR sets exist where mmpretrain is installed."""

from ..version import has_mmpretrain
from .digits import Digits
from .samplers import SeededSampler
from .transforms import LoadVerifiedImage, SeedSample

__all__ = ['Digits', 'LoadVerifiedImage', 'SeedSample', 'SeededSampler']

if has_mmpretrain():
    from .cifar import BGRCIFAR10, BGRCIFAR100

    __all__ += ['BGRCIFAR10', 'BGRCIFAR100']
