"""Helpers that make a freshly built network behave like a trained one."""

from mmqkformer.analysis import awaken

__all__ = ['awaken']
