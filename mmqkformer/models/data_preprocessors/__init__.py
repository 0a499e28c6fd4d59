"""Data preprocessors; they build on mmpretrain and exist where it is installed."""

from ...version import has_mmpretrain

__all__ = []

if has_mmpretrain():
    from .erasing_data_preprocessor import ErasingDataPreprocessor
    from .event_data_preprocessor import EventDataPreprocessor

    __all__ += ['ErasingDataPreprocessor', 'EventDataPreprocessor']
