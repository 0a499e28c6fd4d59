"""Dual spike self attention: products of spikes and currents only, scaled by running rates."""

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor

from ...build import build_part
from ...checks import check_int
from ...neurons import SpikingNeuron
from ...saved import cast
from ..conv import MAX_KERNEL, SpikingConv
from ..running_rate import RunningRate
from ..time import in_format_of, wide_dtype
from .parts import AttentionMap, check_heads


@MODELS.register_module()
class DSSA(BaseModule):
    """Dual spike self attention of SpikingResformer (arXiv 2403.14302).

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    Of the spikes x the currents ``K, V = BN(conv p x p stride p (x))`` of P patches::

        A = SN(K^T x / sqrt(r_x C / h))     [P, N], binary, of each of h heads
        y = SN(V A / sqrt(r_A P))           [C / h, N]

    and ``BN(conv1x1(y))`` leaves it. In every product one factor is of spikes. r_x and r_A are the
    :class:`RunningRate` of x and A, for each head. P is that of the input, so that a network is the
    same at another size as one built for it; rows and columns that fill no patch ask, but are not
    asked for. The products are float32 under autocast. A passes :class:`AttentionMap`.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Heads h; C must be divisible by it.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        patch_size (int): Side p of a patch. Defaults to 1.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.

    Raises:
        ValueError: ``num_heads`` does not divide the channels, or an input is smaller than a patch.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        neuron: dict,
        norm_cfg: dict,
        patch_size: int = 1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_heads(embed_dims, num_heads)
        self.num_heads = num_heads
        self.patch_size = check_int('patch_size', patch_size, 1, MAX_KERNEL)
        self.key_value = SpikingConv(
            embed_dims, 2 * embed_dims, patch_size, stride=patch_size, padding=0, norm_cfg=norm_cfg
        )
        self.input_rate, self.map_rate = RunningRate(num_heads), RunningRate(num_heads)
        self.map_neuron = build_part('neuron', neuron, SpikingNeuron)
        self.attention_map = AttentionMap('pairs')
        self.product_neuron = build_part('neuron', neuron, SpikingNeuron)
        self.proj = SpikingConv(embed_dims, embed_dims, 1, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        if min(x.shape[-2:]) < self.patch_size:
            raise ValueError(
                f'patch_size={self.patch_size!r}: expected at most the sides of the input, '
                f'{x.size(-2)} x {x.size(-1)}'
            )
        key, value = self._tokens(self.key_value(x)).chunk(2, dim=3)  # [T, B, h, d, P]
        queries = self._tokens(x)  # [T, B, h, d, N]
        channels, patches = key.shape[-2:]
        with torch.autocast(x.device.type, enabled=False):
            similar = key.transpose(-2, -1) @ queries
            scale = torch.rsqrt(self.input_rate(queries) * channels)
            pairs = self.attention_map(self.map_neuron(similar * scale))  # [T, B, h, P, N]
            scale = torch.rsqrt(self.map_rate(pairs) * patches)
            spikes = cast(self.product_neuron((value @ pairs) * scale), x.dtype)
        return self.proj(in_format_of(x, spikes.flatten(2, 3).unflatten(3, x.shape[3:])))

    def _tokens(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [T, B, h, d, N]`` in the type of exact counts."""
        return cast(x.flatten(3).unflatten(2, (self.num_heads, -1)), wide_dtype(x))
