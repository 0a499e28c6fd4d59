"""Branches beside the attentions: ``[T, B, C, H, W]`` in, currents of the same shape out."""

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor

from ..checks import check_number
from .conv import MAX_HIDDEN, SpikingConv


@MODELS.register_module()
class SpikingMLP(BaseModule):
    """``SN(BN(conv1x1))`` to ``ratio`` times the channels, then ``BN(conv1x1)`` back.

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    The neuron of the second layer belongs to the block.

    Args:
        embed_dims (int): Channels C.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        ratio (float): Hidden channels over C. Defaults to 4.0.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.

    Raises:
        ValueError: There would be no hidden channel, or more than any network has.
    """

    def __init__(
        self,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        ratio: float = 4.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_number('ratio', ratio, above=0, high=MAX_HIDDEN)
        hidden = int(embed_dims * ratio)
        if not 1 <= hidden <= MAX_HIDDEN:
            raise ValueError(f'ratio={ratio!r}: expected 1 to {MAX_HIDDEN} hidden channels')
        self.fc1 = SpikingConv(embed_dims, hidden, 1, bias=True, neuron=neuron, norm_cfg=norm_cfg)
        self.fc2 = SpikingConv(hidden, embed_dims, 1, bias=True, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        return self.fc2(self.fc1(x))
