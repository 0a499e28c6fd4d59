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
    bias. Arguments are those of :class:`SpikingSelfAttention` without ``value_ratio``,
    ``qkv_bias`` and ``proj_bias``; ``norm_cfg`` is that of batch norms.
    """

    without = ('value_ratio', 'qkv_bias', 'proj_bias')
    pointwise = False

    @classmethod
    def layer(
        cls, channels: int, _: int, *, neuron: dict | None = None, norm_cfg: dict, **__
    ) -> nn.Module:
        """A RepConv, whatever bias a 1 x 1 convolution would have."""
        return SpikingRepConv(channels, pointwise=cls.pointwise, neuron=neuron, norm_cfg=norm_cfg)


@MODELS.register_module()
class PointwiseRepConvSelfAttention(RepConvSelfAttention):
    """Spiking self attention of E-SpikeFormer's large models (arXiv 2411.16061).

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    As :class:`RepConvSelfAttention`, but a layer of q, k, v and the projection sees one token: it
    is ``BN(BN(conv1x1(BN(conv1x1))))`` with 3/2 C channels in the middle. ``norm_cfg`` is that of
    any norm.
    """

    pointwise = True
