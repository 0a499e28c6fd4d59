"""Blocks on ``[T, B, C, H, W]``: patch embeddings, attentions, MLP, transformer block."""

from .attention import QKChannelAttention, QKTokenAttention, SpikingSelfAttention
from .block import DropPath, SpikingBlock
from .checkpoint import checkpointed
from .conv import SpikingConv
from .embed import PEDS, SPS, PEDSStem
from .mlp import SpikingMLP
from .time import firing_rates, merge_time, split_time

__all__ = [
    'PEDS',
    'SPS',
    'DropPath',
    'PEDSStem',
    'QKChannelAttention',
    'QKTokenAttention',
    'SpikingBlock',
    'SpikingConv',
    'SpikingMLP',
    'SpikingSelfAttention',
    'checkpointed',
    'firing_rates',
    'merge_time',
    'split_time',
]
