"""Necks."""

from .peds_neck import PEDSNeck

__all__ = ['PEDSNeck']
