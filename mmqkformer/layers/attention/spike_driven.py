"""Spike-driven self attention: masks and sums, no products of matrices."""

from mmengine.registry import MODELS
from torch import Tensor, nn

from ...saved import cast, max_pooled, multiplied
from ...time_axis import merge_time, split_time
from ..conv import SpikingConv
from ..time import in_format_of, wide_dtype
from .parts import AttentionMap, check_heads, own_neuron
from .projections import Projecting

_DILATION = nn.MaxPool2d(3, stride=1, padding=1)


def _dilate(x: Tensor) -> Tensor:
    """``[T, B, C, H, W]``: the largest value of the 3 x 3 around each, over the last two axes."""
    return split_time(max_pooled(_DILATION, merge_time(x)), x.size(0))


@MODELS.register_module()
class SpikeDrivenSelfAttention(Projecting):
    """Spike-driven self attention of Spike-driven Transformer (arXiv 2307.01694).

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    ``A = SN(sum of K (x) V over the tokens)``, one 0/1 value per channel, which passes
    :class:`AttentionMap`; ``X' = Q (x) A`` masks channels. It is linear in the number of tokens,
    has no scale, and heads would not change it.

    The release's model of CIFAR10-DVS widens spikes on the way, by maxima of 3 x 3 (it calls that
    erosion): k and v over neighbouring pixels, and, of each head, ``K (x) V`` and ``Q (x) A`` over
    three tokens in a row and three channels. ``dilation_heads`` are the heads of the latter.

    Args:
        embed_dims (int): Channels C.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        dilation_heads (int | None): Heads of the widening, a divisor of C; None widens nothing.
            Defaults to None.
        mask_neuron (dict | None): Neuron that makes the mask. Defaults to None: ``neuron`` with
            the threshold below, where it has one.
        v_threshold (float | None): Threshold of the mask's neuron. Defaults to None, 0.5.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.

    Raises:
        ValueError: ``dilation_heads`` does not divide the channels, or both ``mask_neuron`` and
            ``v_threshold`` are given.
    """

    def __init__(
        self,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        dilation_heads: int | None = None,
        mask_neuron: dict | None = None,
        v_threshold: float | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if dilation_heads is not None:
            check_heads(embed_dims, dilation_heads, 'dilation_heads')
        self.dilation_heads = dilation_heads
        args = dict(neuron=neuron, norm_cfg=norm_cfg)
        self.query = SpikingConv(embed_dims, embed_dims, 1, **args)
        self.key = SpikingConv(embed_dims, embed_dims, 1, **args)
        self.value = SpikingConv(embed_dims, embed_dims, 1, **args)
        self.mask_neuron = own_neuron('mask_neuron', mask_neuron, neuron, v_threshold)
        self.attention_map = AttentionMap('channels')
        self.proj = SpikingConv(embed_dims, embed_dims, 1, bias=True, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        query, key, value = self.projected(x)
        if self.dilation_heads is not None:
            key, value = _dilate(key), _dilate(value)
        both = self._dilated(multiplied(key, value))
        counts = both.sum((3, 4), keepdim=True, dtype=wide_dtype(x))
        mask = self.attention_map(cast(self.mask_neuron(counts), x.dtype))  # [T, B, C, 1, 1]
        return self.proj(self._dilated(multiplied(query, mask)))

    def _dilated(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]``, widened over tokens and the channels of each head."""
        if self.dilation_heads is None:
            return x
        heads = x.flatten(3).unflatten(2, (self.dilation_heads, -1))  # [T, B, h, d, N]
        return in_format_of(x, _dilate(heads).flatten(2, 3).unflatten(3, x.shape[3:]))
