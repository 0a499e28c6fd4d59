"""Backbones: the graph, and the families that people look for by name."""

from .qkformer import QKFormer
from .spiking_backbone import SpikingBackbone

__all__ = ['QKFormer', 'SpikingBackbone']
