"""Self attention over the tokens of all time steps."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...build import build_part
from ...checks import check_int, check_list, check_number
from ...neurons import SpikingNeuron
from ...saved import cast, moved
from ..conv import MAX_WEIGHTS, SpikingConv
from ..time import in_format_of, wide_dtype
from .parts import AttentionMap, check_heads


@MODELS.register_module()
class SpatialTemporalSelfAttention(BaseModule):
    """Spatial-temporal self attention of STSA (IJCAI 2023), over the tokens of all time steps.

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    ``SN((M * (Q K^T + R)) V * s)`` over ``T H W`` tokens: R has a learnt value for each difference
    of step, row and column and each head, M is 1 where the key is of the query's step or an earlier
    one and 0 elsewhere. The masked map passes :class:`AttentionMap`.

    What it takes for the tokens of a step is the release's: the ``[T, C, H W]`` values of a sample,
    in this order, read as ``[C, T, H W]``. A token so mixes channels and steps, and later steps
    reach earlier ones, whatever M says. The release reads a whole batch so, which mixes its
    samples; here each is read by itself, as the release does with one alone.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Heads; C must be divisible by it.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        window (Sequence[int]): Most steps, rows and columns of tokens, of which R has all
            differences. Defaults to (10, 8, 8), of 128 x 128 pixels at stride 16.
        product_neuron (dict | None): Neuron behind the product. Defaults to None: ``neuron``.
        scale (float): The factor s. Defaults to 0.125.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        neuron: dict,
        norm_cfg: dict,
        window: Sequence[int] = (10, 8, 8),
        product_neuron: dict | None = None,
        scale: float = 0.125,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_heads(embed_dims, num_heads)
        self.num_heads = num_heads
        check_list('window', window, check_int, length=3, low=1)
        self.window = tuple(window)
        steps, rows, columns = (2 * most - 1 for most in window)
        if steps * rows * columns * num_heads > MAX_WEIGHTS:
            raise ValueError(f'window={window!r}: expected at most {MAX_WEIGHTS} differences')
        self.scale = check_number('scale', scale, above=0)
        args = dict(neuron=neuron, norm_cfg=norm_cfg)
        self.qkv = SpikingConv(embed_dims, 3 * embed_dims, 1, **args)
        self.position_bias = nn.Parameter(torch.empty(steps * rows * columns, num_heads))
        nn.init.trunc_normal_(self.position_bias, std=0.02)
        product_neuron = neuron if product_neuron is None else product_neuron
        self.product_neuron = build_part('product_neuron', product_neuron, SpikingNeuron)
        self.attention_map = AttentionMap('space_time')
        self.proj = SpikingConv(embed_dims, embed_dims, 1, bias=True, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        time_steps, size = x.size(0), x.shape[3:]
        self._check_size(time_steps, *size)
        # The release's reading, see the class
        read = x.transpose(0, 1).flatten(1).unflatten(1, (x.size(2), time_steps, *size))
        q, k, v = (self._tokens(y) for y in self.qkv(read.permute(2, 0, 1, 3, 4)).chunk(3, dim=2))
        with torch.autocast(x.device.type, enabled=False):
            scores = q @ k.transpose(-2, -1) + self._bias(time_steps, *size).to(q.dtype)
            scores = self.attention_map(scores * self._mask(time_steps, size.numel(), q))
            product = scores @ v * self.scale  # [B, h, T*N, d]
        product = product.unflatten(2, (time_steps, *size))  # [B, h, T, H, W, d]
        product = product.permute(2, 0, 1, 5, 3, 4).flatten(2, 3)
        return self.proj(in_format_of(x, cast(self.product_neuron(product), x.dtype)))

    def _check_size(self, *grid: int) -> None:
        if any(found > most for found, most in zip(grid, self.window)):
            steps, rows, columns = grid
            raise ValueError(
                f'input of {steps} steps and {rows} x {columns} tokens: expected at most '
                f'{self.window[0]} steps and {self.window[1]} x {self.window[2]} tokens, the '
                f'window={self.window} that has a learnt bias for each difference'
            )

    def _tokens(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [B, h, T*N, d]`` in the type of exact counts."""
        heads = x.flatten(3).unflatten(2, (self.num_heads, -1))  # [T, B, h, d, N]
        tokens = moved(x, heads.permute(1, 2, 0, 4, 3).flatten(2, 3))
        return cast(tokens, wide_dtype(x))

    def _bias(self, *grid: int) -> Tensor:
        """Of each head, query and key, ``[h, T*N, T*N]``."""
        device = self.position_bias.device
        index = torch.zeros((), dtype=torch.int64, device=device)
        for axis, (length, most) in enumerate(zip(grid, self.window)):
            places = torch.arange(length, device=device)
            differences = places[:, None] - places + most - 1
            # Queries on the first three axes, keys on the others
            shape = [1] * 6
            shape[axis] = shape[axis + 3] = length
            index = index * (2 * most - 1) + differences.view(shape)
        tokens = index.flatten(3).flatten(0, 2)
        return self.position_bias[tokens].permute(2, 0, 1)

    @staticmethod
    def _mask(time_steps: int, tokens: int, like: Tensor) -> Tensor:
        """1 where a key is of the query's step or an earlier one, ``[T*N, T*N]``."""
        steps = torch.arange(time_steps, device=like.device).repeat_interleave(tokens)
        return (steps[:, None] >= steps).to(like.dtype)
