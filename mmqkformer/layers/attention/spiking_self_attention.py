"""Spiking self attention of Spikformer."""

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...checks import check_bool, check_int, check_number, check_str
from ...saved import carried, cast, derived
from ..conv import MAX_HIDDEN, SpikingConv
from ..time import in_format_of, wide_dtype
from .parts import AttentionMap, check_heads, own_neuron
from .projections import Projecting


@MODELS.register_module()
class SpikingSelfAttention(Projecting):
    """Spiking self attention of Spikformer (paper, Eq. 6 to 8): ``SN(Q K^T V * s)``, no softmax.

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    Without softmax ``(Q K^T) V = Q (K^T V)``, and counts of spikes are exact integers, so that the
    order is free: ``qk_first`` costs 2 N^2 d operations per head and N^2 values, ``kv_first``
    2 N d^2 operations and d^2 values (N tokens, d channels per head; ``value_ratio`` times as many
    of V). The products are computed in float32 under autocast, since float16 is not exact above
    2048.

    Only ``qk_first`` computes a map ``Q K^T``, which passes :class:`AttentionMap` as the counts
    ``[T, B, heads, keys, queries]`` in front of s; ``kv_first`` never has one.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Heads; C must be divisible by it.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        product_neuron (dict | None): Neuron behind the product. Defaults to None: ``neuron`` with
            the threshold below, where it has one.
        v_threshold (float | None): Threshold of the product's neuron. Defaults to None, 0.5.
        scale (float): The factor s. Defaults to 0.125.
        value_ratio (int): Channels of the values over C. Defaults to 1.
        qkv_bias (bool): Whether the q, k and v layers have a bias. Defaults to False.
        proj_bias (bool): Whether the projection has one. Defaults to True.
        contraction (str): ``auto`` (the cheaper), ``qk_first`` or ``kv_first``. Defaults to
            ``auto``.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        neuron: dict,
        norm_cfg: dict,
        product_neuron: dict | None = None,
        v_threshold: float | None = None,
        scale: float = 0.125,
        value_ratio: int = 1,
        qkv_bias: bool = False,
        proj_bias: bool = True,
        contraction: str = 'auto',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_heads(embed_dims, num_heads)
        self.num_heads = num_heads
        self.scale = check_number('scale', scale, above=0)
        self.contraction = check_str('contraction', contraction, ('auto', 'qk_first', 'kv_first'))
        check_bool('qkv_bias', qkv_bias)
        check_bool('proj_bias', proj_bias)
        values = embed_dims * check_int('value_ratio', value_ratio, 1, MAX_HIDDEN // embed_dims)
        args = dict(bias=qkv_bias, neuron=neuron, norm_cfg=norm_cfg)
        self.query = self.layer(embed_dims, embed_dims, **args)
        self.key = self.layer(embed_dims, embed_dims, **args)
        self.value = self.layer(embed_dims, values, **args)
        self.product_neuron = own_neuron('product_neuron', product_neuron, neuron, v_threshold)
        self.attention_map = AttentionMap('pairs')
        self.proj = self.layer(values, embed_dims, bias=proj_bias, norm_cfg=norm_cfg)

    @staticmethod
    def layer(in_channels: int, out_channels: int, **kwargs) -> nn.Module:
        """A layer of q, k, v or the projection, from what a 1 x 1 convolution takes."""
        return SpikingConv(in_channels, out_channels, 1, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        q, k, v = map(self._tokens, self.projected(x))
        with torch.autocast(x.device.type, enabled=False):
            product = derived(lambda q, k, v: self.contract(q, k, v) * self.scale, q, k, v)
        spikes = cast(self.product_neuron(product), x.dtype)
        spikes = spikes.flatten(2, 3).unflatten(3, x.shape[3:])
        return self.proj(in_format_of(x, spikes))

    def _tokens(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [T, B, h, d, N]`` in the type of exact counts."""
        heads = x.flatten(3).unflatten(2, (self.num_heads, -1))
        # Cast in the order that the products need, so that nothing is copied once more
        order = torch.contiguous_format
        return carried(heads, heads.to(wide_dtype(x), memory_format=order))

    def contract(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """``Q K^T V`` ``[..., e, N]`` of ``[..., d, N]`` and (V) ``[..., e, N]``, as configured."""
        channels, tokens = q.shape[-2:]
        values = v.size(-2)
        order = self.contraction
        if order == 'auto':
            kv_first, qk_first = 2 * channels * values, tokens * (channels + values)
            order = 'kv_first' if kv_first <= qk_first else 'qk_first'
        if order == 'kv_first':
            return (v @ k.transpose(-2, -1)) @ q  # [.., e, d] @ [.., d, N]
        counts = self.attention_map(k.transpose(-2, -1) @ q)  # [.., N, N]
        return v @ counts  # [.., e, N] @ [.., N, N]
