"""Spiking attentions: ``[T, B, C, H, W]`` spikes in, currents of the same shape out.

The neuron behind (or, with membrane residuals, in front of) an attention belongs to the block.
"""

from abc import abstractmethod

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor

from ..checks import check_bool, check_number
from .conv import SpikingConv
from .time import in_format_of, wide_dtype


def _check_heads(embed_dims: int, num_heads: int) -> None:
    if num_heads < 1 or embed_dims % num_heads:
        raise ValueError(f'embed_dims={embed_dims} is not divisible by num_heads={num_heads}')


class _QKAttention(BaseModule):
    """What both Q-K attentions share: ``X' = A (x) K``, with a 0/1 mask A computed from Q."""

    def __init__(
        self,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        v_threshold: float = 0.5,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        args = dict(neuron=neuron, norm_cfg=norm_cfg)
        self.query = SpikingConv(embed_dims, embed_dims, 1, **args)
        self.key = SpikingConv(embed_dims, embed_dims, 1, **args)
        self.mask_neuron = MODELS.build({**neuron, 'v_threshold': v_threshold})
        self.proj = SpikingConv(embed_dims, embed_dims, 1, bias=True, norm_cfg=norm_cfg)

    @abstractmethod
    def mask(self, query: Tensor) -> Tensor:
        """0/1 mask from the query's spikes, of a shape that broadcasts to ``[T, B, C, H, W]``."""

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        key = self.key(x)
        # The first factor gives the product its memory format, and the mask has lost its own
        return self.proj(key * self.mask(self.query(x)))


@MODELS.register_module()
class QKTokenAttention(_QKAttention):
    """Q-K token attention (paper, Eq. 9 and 10), linear in the number of tokens.

    ``A_t = SN(sum of Q over the channels of a head)``, one 0/1 value per head and token;
    ``X' = A_t (x) K`` masks tokens.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Heads; C must be divisible by it.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        v_threshold (float): Threshold of the neuron that makes the mask. Defaults to 0.5.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.
    """

    def __init__(self, embed_dims: int, num_heads: int, **kwargs) -> None:
        _check_heads(embed_dims, num_heads)
        super().__init__(embed_dims, **kwargs)
        self.num_heads = num_heads

    def mask(self, query: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [T, B, C, H, W]``, constant over the channels of a head."""
        heads = query.unflatten(2, (self.num_heads, -1))
        counts = heads.sum(3, keepdim=True, dtype=wide_dtype(query))
        mask = self.mask_neuron(counts).to(query.dtype)  # [T, B, h, 1, H, W]
        return mask.expand_as(heads).flatten(2, 3)


@MODELS.register_module()
class QKChannelAttention(_QKAttention):
    """Q-K channel attention (paper, Eq. 11).

    ``A_c = SN(sum of Q over the tokens)``, one 0/1 value per channel; ``X' = A_c (x) K`` masks
    channels. Heads would not change it, so it has none.

    Args:
        embed_dims (int): Channels C.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        v_threshold (float): Threshold of the neuron that makes the mask. Defaults to 0.5.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.
    """

    def mask(self, query: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [T, B, C, 1, 1]``."""
        counts = query.sum((3, 4), keepdim=True, dtype=wide_dtype(query))
        return self.mask_neuron(counts).to(query.dtype)


@MODELS.register_module()
class SpikingSelfAttention(BaseModule):
    """Spiking self attention of Spikformer (paper, Eq. 6 to 8): ``SN(Q K^T V * s)``, no softmax.

    Without softmax ``(Q K^T) V = Q (K^T V)``, and counts of spikes are exact integers, so that the
    order is free: ``qk_first`` costs 2 N^2 d operations per head and N^2 values, ``kv_first``
    2 N d^2 operations and d^2 values (N tokens, d channels per head). The products are computed in
    float32 under autocast, since float16 is not exact above 2048.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Heads; C must be divisible by it.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        v_threshold (float): Threshold of the neuron behind the product. Defaults to 0.5.
        scale (float): The factor s. Defaults to 0.125.
        qkv_bias (bool): Whether the q, k and v layers have a bias. Defaults to False.
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
        v_threshold: float = 0.5,
        scale: float = 0.125,
        qkv_bias: bool = False,
        contraction: str = 'auto',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        _check_heads(embed_dims, num_heads)
        if contraction not in ('auto', 'qk_first', 'kv_first'):
            raise ValueError(
                f"attention.contraction={contraction!r}: expected 'auto', 'qk_first' or 'kv_first'"
            )
        self.num_heads = num_heads
        self.scale = check_number('attention.scale', scale, above=0)
        self.contraction = contraction
        check_bool('attention.qkv_bias', qkv_bias)
        args = dict(bias=qkv_bias, neuron=neuron, norm_cfg=norm_cfg)
        self.query = SpikingConv(embed_dims, embed_dims, 1, **args)
        self.key = SpikingConv(embed_dims, embed_dims, 1, **args)
        self.value = SpikingConv(embed_dims, embed_dims, 1, **args)
        self.product_neuron = MODELS.build({**neuron, 'v_threshold': v_threshold})
        self.proj = SpikingConv(embed_dims, embed_dims, 1, bias=True, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        q, k, v = (self._tokens(layer(x)) for layer in (self.query, self.key, self.value))
        with torch.autocast(x.device.type, enabled=False):
            product = self.contract(q, k, v) * self.scale
        spikes = self.product_neuron(product).to(x.dtype)
        spikes = spikes.flatten(2, 3).unflatten(3, x.shape[3:])
        return self.proj(in_format_of(x, spikes))

    def _tokens(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [T, B, h, d, N]`` in the type of exact counts."""
        return x.flatten(3).unflatten(2, (self.num_heads, -1)).to(wide_dtype(x))

    def contract(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """``Q K^T V`` of ``[..., d, N]`` operands, in the configured order."""
        channels, tokens = q.shape[-2:]
        order = self.contraction
        if order == 'auto':
            order = 'kv_first' if channels <= tokens else 'qk_first'
        if order == 'kv_first':
            return (v @ k.transpose(-2, -1)) @ q  # [.., d, d] @ [.., d, N]
        return v @ (k.transpose(-2, -1) @ q)  # [.., d, N] @ [.., N, N]
