"""Q-K attentions of QKFormer: a mask made of Q, applied to K."""

from abc import abstractmethod

from mmengine.registry import MODELS
from torch import Tensor

from ...neurons.fused import token_attention
from ...saved import cast, multiplied
from ..conv import SpikingConv
from ..time import wide_dtype
from .parts import AttentionMap, check_heads, own_neuron
from .projections import Projecting


class _QKAttention(Projecting):
    """What both Q-K attentions share: ``X' = A (x) K``, with a 0/1 mask A computed from Q.

    The mask passes :class:`AttentionMap`, but where a kernel that nobody looks into makes none.
    """

    map_over: str
    projections = ('key', 'query')

    def __init__(
        self,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        mask_neuron: dict | None = None,
        v_threshold: float | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        args = dict(neuron=neuron, norm_cfg=norm_cfg)
        self.query = SpikingConv(embed_dims, embed_dims, 1, **args)
        self.key = SpikingConv(embed_dims, embed_dims, 1, **args)
        self.mask_neuron = own_neuron('mask_neuron', mask_neuron, neuron, v_threshold)
        self.attention_map = AttentionMap(self.map_over)
        self.proj = SpikingConv(embed_dims, embed_dims, 1, bias=True, norm_cfg=norm_cfg)

    @abstractmethod
    def masked(self, query: Tensor, key: Tensor) -> Tensor:
        """``key`` where the mask of ``query`` is 1, all of shape ``[T, B, C, H, W]``."""

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        key, query = self.projected(x)
        return self.proj(self.masked(query, key))


@MODELS.register_module()
class QKTokenAttention(_QKAttention):
    """Q-K token attention (paper, Eq. 9 and 10), linear in the number of tokens.

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    ``A_t = SN(sum of Q over the channels of a head)``, one 0/1 value per head and token;
    ``X' = A_t (x) K`` masks tokens.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Heads; C must be divisible by it.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        mask_neuron (dict | None): Neuron that makes the mask. Defaults to None: ``neuron`` with
            the threshold below, where it has one.
        v_threshold (float | None): Threshold of the mask's neuron. Defaults to None, 0.5.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.
    """

    map_over = 'tokens'

    def __init__(self, embed_dims: int, num_heads: int, **kwargs) -> None:
        check_heads(embed_dims, num_heads)
        super().__init__(embed_dims, **kwargs)
        self.num_heads = num_heads

    def masked(self, query: Tensor, key: Tensor) -> Tensor:
        """See the base class; the mask ``[T, B, heads, H, W]`` is one for a head's channels."""
        return token_attention(self.mask_neuron, query, key, self.num_heads, self.attention_map)


@MODELS.register_module()
class QKChannelAttention(_QKAttention):
    """Q-K channel attention (paper, Eq. 11).

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    ``A_c = SN(sum of Q over the tokens)``, one 0/1 value per channel; ``X' = A_c (x) K`` masks
    channels. Heads would not change it, so it has none.

    Args:
        embed_dims (int): Channels C.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        mask_neuron (dict | None): Neuron that makes the mask. Defaults to None: ``neuron`` with
            the threshold below, where it has one.
        v_threshold (float | None): Threshold of the mask's neuron. Defaults to None, 0.5.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.
    """

    map_over = 'channels'

    def masked(self, query: Tensor, key: Tensor) -> Tensor:
        """See the base class; the mask is ``[T, B, C, 1, 1]``."""
        counts = query.sum((3, 4), keepdim=True, dtype=wide_dtype(query))
        return multiplied(key, self.attention_map(cast(self.mask_neuron(counts), query.dtype)))
