"""Data sets, samplers and transforms."""

from .digits import Digits
from .samplers import SeededSampler
from .transforms import LoadVerifiedImage, SeedSample

__all__ = ['Digits', 'LoadVerifiedImage', 'SeedSample', 'SeededSampler']
