"""A feature pyramid whose convolutions see spikes."""

from collections.abc import Sequence
from functools import partial

from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from ...build import build_part, config_errors
from ...checks import check_int, check_list, check_str
from ...layers import SpikingConv, each_step, mean_over_time
from ...layers.conv import MAX_CHANNELS, check_norm_cfg
from ...neurons import SpikingNeuron
from ..quantised import QuantisedPart
from ..spikes import mark_spikes, plain_tensor

# More levels than any image has pixels for
_MAX_LEVELS = 16


@MODELS.register_module()
class SpikingFPN(QuantisedPart):
    """FPN with a neuron in front of every convolution, as QSD-Transformer has it.

    Takes streams ``[T, B, C_i, H_i, W_i]`` and returns as many, or means over time
    ``[B, C, H_i, W_i]``.

    ``M_i = W_i SN(X_i) + up(M_{i+1})``, ``P_i = V_i SN(M_i)``: 1 x 1 and 3 x 3 convolutions with
    biases, the nearest neighbour up to the size of the level below (two levels may be of one size).
    Further levels take every second row and column of the last.

    Args:
        in_channels (Sequence[int]): Channels C_i of the backbone's outputs.
        out_channels (int): Channels C of every level.
        neuron (dict): Neuron config.
        num_outs (int | None): Levels that are returned. Defaults to None, as many as come in.
        norm_cfg (dict | None): Norm behind every convolution. Defaults to None: there is none.
        out (str): ``stream``, for heads that fire, or ``mean``, over time, for stock heads.
            Defaults to ``stream``.
        quant (dict | None): Quantisation of all weights, ``dict(type='LSQ', bits=4)``. Defaults to
            None: float weights.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None, that of FPN:
            Xavier's, uniform.

    Raises:
        ConfigError: A key or value is wrong; the message begins with its path, ``neck.``.
    """

    @config_errors('neck')
    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        neuron: dict,
        num_outs: int | None = None,
        norm_cfg: dict | None = None,
        out: str = 'stream',
        quant: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = dict(type='Xavier', layer='Conv2d', distribution='uniform')
        super().__init__(init_cfg)
        self.in_channels = check_list(
            'in_channels', in_channels, check_int, low=1, high=MAX_CHANNELS
        )
        levels = len(self.in_channels)
        if not levels:
            raise ValueError(f'in_channels={in_channels!r}: expected at least one level')
        check_int('out_channels', out_channels, 1, MAX_CHANNELS)
        if num_outs is not None:
            check_int('num_outs', num_outs, levels, _MAX_LEVELS)
        self.num_outs = levels if num_outs is None else num_outs
        self.out = check_str('out', out, ('stream', 'mean'))
        build_part('neuron', neuron, SpikingNeuron)
        if norm_cfg is not None:
            check_norm_cfg(norm_cfg)
        unit = partial(SpikingConv, bias=True, fire='first', neuron=neuron, norm_cfg=norm_cfg)
        self.lateral_convs = nn.ModuleList(unit(c, out_channels, 1) for c in self.in_channels)
        self.fpn_convs = nn.ModuleList(unit(out_channels, out_channels, 3) for _ in range(levels))
        self.quantise(quant, self, 'neck')

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Runs the neck.

        Args:
            inputs (tuple[Tensor, ...]): ``[T, B, C_i, H_i, W_i]`` of a backbone with
                ``out='stream'`` or ``'spikes'``, the finest first.

        Returns:
            tuple[Tensor, ...]: ``num_outs`` levels, ``[T, B, C, H_i, W_i]`` or their means over
            time, ``[B, C, H_i, W_i]``.

        Raises:
            ValueError: Rates instead of a stream, or levels that do not fit ``in_channels``.
        """
        if any(x.dim() != 5 for x in inputs):
            raise ValueError(
                f'SpikingFPN takes streams [T, B, C, H, W], got {list(inputs[0].shape)}: set '
                f"backbone.out='stream'"
            )
        channels = [x.size(2) for x in inputs]
        if channels != self.in_channels:
            raise ValueError(f'neck.in_channels={self.in_channels}: the inputs have {channels}')
        levels = [conv(plain_tensor(x)) for conv, x in zip(self.lateral_convs, inputs)]
        for i in range(len(levels) - 1, 0, -1):
            up = partial(F.interpolate, size=levels[i - 1].shape[-2:], mode='nearest')
            levels[i - 1] = levels[i - 1] + each_step(up, levels[i])
        levels = [conv(x) for conv, x in zip(self.fpn_convs, levels)]
        while len(levels) < self.num_outs:
            levels.append(levels[-1][..., ::2, ::2])
        return tuple(mark_spikes(x) if self.out == 'stream' else mean_over_time(x) for x in levels)
