"""Layers on ``[T, B, C, H, W]``: units, patch embeddings, branches, residual blocks."""

from .attention import (
    AttentionMap,
    QKChannelAttention,
    QKTokenAttention,
    SpikeDrivenSelfAttention,
    SpikingSelfAttention,
)
from .branches import SpikingMLP
from .conv import SpikingConv
from .embed import ConvEmbed
from .memory import checkpointed
from .presets import PEDS, SPS, PEDSStem
from .residual import DropPath, SpikingBlock
from .time import mean_over_time, merge_time, split_time

__all__ = [
    'PEDS',
    'SPS',
    'AttentionMap',
    'ConvEmbed',
    'DropPath',
    'PEDSStem',
    'QKChannelAttention',
    'QKTokenAttention',
    'SpikeDrivenSelfAttention',
    'SpikingBlock',
    'SpikingConv',
    'SpikingMLP',
    'SpikingSelfAttention',
    'checkpointed',
    'mean_over_time',
    'merge_time',
    'split_time',
]
