"""Attentions: spikes ``[T, B, C, H, W]`` in, currents of the same shape out.

The neuron behind (or, with membrane residuals, in front of) an attention is the residual's.
"""

from .qk import QKChannelAttention, QKTokenAttention
from .spiking_self_attention import SpikingSelfAttention

__all__ = ['QKChannelAttention', 'QKTokenAttention', 'SpikingSelfAttention']
