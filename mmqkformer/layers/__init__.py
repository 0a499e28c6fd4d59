"""Layers on ``[T, B, C, H, W]``: units, patch embeddings, branches, residual blocks."""

from .attention import (
    AttentionMap,
    QKChannelAttention,
    QKTokenAttention,
    RepConvSelfAttention,
    SpatialTemporalSelfAttention,
    SpikeDrivenSelfAttention,
    SpikingSelfAttention,
)
from .branches import ConvBranch, ConvUnit, SepConv, SpikingMLP
from .conv import SpikingConv
from .embed import ConvEmbed
from .memory import checkpointed
from .presets import PEDS, SPS, PEDSStem
from .quant import LSQ
from .rep_conv import RepConv, SpikingRepConv
from .residual import DropPath, SpikingBlock
from .time import mean_over_time, merge_time, split_time

__all__ = [
    'LSQ',
    'PEDS',
    'SPS',
    'AttentionMap',
    'ConvBranch',
    'ConvEmbed',
    'ConvUnit',
    'DropPath',
    'PEDSStem',
    'QKChannelAttention',
    'QKTokenAttention',
    'RepConv',
    'RepConvSelfAttention',
    'SepConv',
    'SpatialTemporalSelfAttention',
    'SpikeDrivenSelfAttention',
    'SpikingBlock',
    'SpikingConv',
    'SpikingMLP',
    'SpikingRepConv',
    'SpikingSelfAttention',
    'checkpointed',
    'mean_over_time',
    'merge_time',
    'split_time',
]
