"""Spiking self attention on re-parameterisable convolutions."""

from mmengine.registry import MODELS
from torch import nn

from ..rep_conv import SpikingRepConv
from .spiking_self_attention import SpikingSelfAttention


@MODELS.register_module()
class RepConvSelfAttention(SpikingSelfAttention):
    """Spiking self attention of Meta-SpikeFormer (arXiv 2404.03663): RepConvs for linear layers.

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    ``SN(Q K^T V * s)`` as in Spikformer; Q, K, V and the projection see 3 x 3 tokens and have no
    bias. Arguments are those of :class:`SpikingSelfAttention` without ``qkv_bias``; ``norm_cfg``
    is that of batch norms.
    """

    without = ('qkv_bias',)

    @staticmethod
    def layer(embed_dims: int, *, neuron: dict | None = None, norm_cfg: dict, **_) -> nn.Module:
        """A RepConv, whatever bias a 1 x 1 convolution would have."""
        return SpikingRepConv(embed_dims, neuron=neuron, norm_cfg=norm_cfg)
