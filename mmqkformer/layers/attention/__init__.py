"""Attentions: spikes ``[T, B, C, H, W]`` in, currents of the same shape out.

One that has a map passes it through an ``AttentionMap``. The neuron behind (or, with membrane
residuals, in front of) an attention is the residual's.
"""

from .dssa import DSSA
from .parts import AttentionMap
from .qk import QKChannelAttention, QKTokenAttention
from .rep_conv import PointwiseRepConvSelfAttention, RepConvSelfAttention
from .spatial_temporal import SpatialTemporalSelfAttention
from .spike_driven import SpikeDrivenSelfAttention
from .spiking_self_attention import SpikingSelfAttention

__all__ = [
    'DSSA',
    'AttentionMap',
    'PointwiseRepConvSelfAttention',
    'QKChannelAttention',
    'QKTokenAttention',
    'RepConvSelfAttention',
    'SpatialTemporalSelfAttention',
    'SpikeDrivenSelfAttention',
    'SpikingSelfAttention',
]
