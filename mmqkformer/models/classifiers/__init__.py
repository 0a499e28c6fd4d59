"""Classifiers; they build on mmpretrain and exist where it is installed."""

from ...version import has_mmpretrain

__all__ = []

if has_mmpretrain():
    from .distilled_classifier import DistilledClassifier

    __all__ += ['DistilledClassifier']
