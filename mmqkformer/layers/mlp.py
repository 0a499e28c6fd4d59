"""Spiking multi-layer perceptron."""

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor

from .conv import SpikingConv


@MODELS.register_module()
class SpikingMLP(BaseModule):
    """``SN(BN(conv1x1))`` to ``ratio`` times the channels, then ``BN(conv1x1)`` back.

    The neuron of the second layer belongs to the block.

    Args:
        embed_dims (int): Channels C.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        ratio (float): Hidden channels over C. Defaults to 4.0.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.
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
        hidden = int(embed_dims * ratio)
        if hidden < 1:
            raise ValueError(f'mlp.ratio={ratio!r}: expected at least one hidden channel')
        self.fc1 = SpikingConv(embed_dims, hidden, 1, bias=True, neuron=neuron, norm_cfg=norm_cfg)
        self.fc2 = SpikingConv(hidden, embed_dims, 1, bias=True, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        return self.fc2(self.fc1(x))
