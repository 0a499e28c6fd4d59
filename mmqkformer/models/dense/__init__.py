"""Heads of mmdet and mmsegmentation that fire.

They need the framework whose classes they extend, which ``import mmqkformer`` does not touch: a
config imports ``mmqkformer.models.dense.detection`` or ``mmqkformer.models.dense.segmentation``.
"""
