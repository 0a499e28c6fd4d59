"""Curves of trainings: read from logs and tables, and compared with those of a release."""

from .comparison import Comparison, Rule, compare_curves
from .reading import Curves, read_curves, read_work_dir, released_curves

__all__ = [
    'Comparison',
    'Curves',
    'Rule',
    'compare_curves',
    'read_curves',
    'read_work_dir',
    'released_curves',
]
