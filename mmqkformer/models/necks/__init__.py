"""Necks."""

from .peds_neck import PEDSNeck
from .spiking_fpn import SpikingFPN

__all__ = ['PEDSNeck', 'SpikingFPN']
