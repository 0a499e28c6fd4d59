"""A spiking neck that continues the pyramid of a backbone."""

from collections.abc import Sequence

from mmengine.registry import MODELS
from torch import Tensor, nn

from ...build import config_errors
from ...checks import check_int, check_list
from ...layers import PEDS, mean_over_time
from ...layers.conv import MAX_CHANNELS, check_defaults
from ..quantised import QuantisedPart
from ..spikes import plain_tensor


@MODELS.register_module()
class PEDSNeck(QuantisedPart):
    """Continues a backbone's pyramid with more PEDS stages and returns all levels as rates.

    Takes spikes ``[T, B, C_i, H_i, W_i]`` and returns rates ``[B, C_i, H_i, W_i]``.

    Args:
        in_channels (Sequence[int]): Channels of the backbone's outputs.
        widths (Sequence[int]): Channels of the stages to add, each of twice the stride before.
        neuron (dict): Neuron config. Defaults to ``dict(type='LIFNeuron', tau=2.0)``.
        norm_cfg (dict): Norm config. Defaults to ``dict(type='BN')``.
        pool (str): See :class:`~mmqkformer.layers.PEDS`. Defaults to ``first``.
        quant (dict | None): Quantisation of all weights, ``dict(type='LSQ', bits=4)``. Defaults to
            None: float weights.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.

    Raises:
        ConfigError: A key or value is wrong; the message begins with its path, ``neck.``.
    """

    @config_errors('neck')
    def __init__(
        self,
        in_channels: Sequence[int],
        widths: Sequence[int],
        neuron: dict | None = None,
        norm_cfg: dict | None = None,
        pool: str = 'first',
        quant: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        channels = dict(low=1, high=MAX_CHANNELS)
        self.in_channels = check_list('in_channels', in_channels, check_int, **channels)
        if not self.in_channels:
            raise ValueError(f'in_channels={in_channels!r}: expected at least one level')
        self.out_channels = [
            *self.in_channels,
            *check_list('widths', widths, check_int, **channels),
        ]
        neuron = dict(type='LIFNeuron', tau=2.0) if neuron is None else neuron
        norm_cfg = dict(type='BN') if norm_cfg is None else norm_cfg
        check_defaults(neuron, norm_cfg)
        self.stages = nn.ModuleList(
            PEDS(before, width, neuron, norm_cfg, pool=pool)
            for before, width in zip(self.out_channels[len(in_channels) - 1 :], widths)
        )
        self.quantise(quant, self, 'neck')

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Runs the neck.

        Args:
            inputs (tuple[Tensor, ...]): Spikes ``[T, B, C_i, H_i, W_i]`` of a backbone with
                ``out='spikes'``.

        Returns:
            tuple[Tensor, ...]: Rates ``[B, C_i, H_i, W_i]`` of the given and the added levels.

        Raises:
            ValueError: Rates instead of spikes, or levels that do not fit ``in_channels``.
        """
        if any(x.dim() != 5 for x in inputs):
            raise ValueError(
                f'PEDSNeck takes spikes [T, B, C, H, W], got {list(inputs[0].shape)}: set '
                f"backbone.out='spikes'"
            )
        channels = [x.size(2) for x in inputs]
        if channels != self.in_channels:
            raise ValueError(f'neck.in_channels={self.in_channels}: the inputs have {channels}')
        levels = [plain_tensor(x) for x in inputs]
        for stage in self.stages:
            levels.append(stage(levels[-1]))
        return tuple(mean_over_time(x) for x in levels)
