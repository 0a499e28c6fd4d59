"""Layers on ``[T, B, C, H, W]``: units, patch embeddings, branches, residual blocks."""

from ..time_axis import merge_time, split_time
from .attention import (
    DSSA,
    AttentionMap,
    PointwiseRepConvSelfAttention,
    QKChannelAttention,
    QKTokenAttention,
    RepConvSelfAttention,
    SpatialTemporalSelfAttention,
    SpikeDrivenSelfAttention,
    SpikingSelfAttention,
)
from .branches import GWFFN, ConvBranch, ConvUnit, SepConv, SpikingMLP
from .conv import SpikingConv
from .embed import ConvEmbed, MaxPoolEmbed
from .memory import checkpointed
from .presets import PEDS, SPS, PEDSStem
from .quant import LSQ
from .rep_conv import PointwiseRepConv, RepConv, SpikingRepConv
from .residual import DropPath, SpikingBlock
from .running_rate import RunningRate
from .time import each_step, mean_over_time

__all__ = [
    'DSSA',
    'GWFFN',
    'LSQ',
    'PEDS',
    'SPS',
    'AttentionMap',
    'ConvBranch',
    'ConvEmbed',
    'ConvUnit',
    'DropPath',
    'MaxPoolEmbed',
    'PEDSStem',
    'PointwiseRepConv',
    'PointwiseRepConvSelfAttention',
    'QKChannelAttention',
    'QKTokenAttention',
    'RepConv',
    'RepConvSelfAttention',
    'RunningRate',
    'SepConv',
    'SpatialTemporalSelfAttention',
    'SpikeDrivenSelfAttention',
    'SpikingBlock',
    'SpikingConv',
    'SpikingMLP',
    'SpikingRepConv',
    'SpikingSelfAttention',
    'checkpointed',
    'each_step',
    'mean_over_time',
    'merge_time',
    'split_time',
]
