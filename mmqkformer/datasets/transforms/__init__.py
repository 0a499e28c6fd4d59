"""Transforms of samples."""

from .load_image import LoadVerifiedImage
from .seed_sample import SeedSample

__all__ = ['LoadVerifiedImage', 'SeedSample']
