"""Heads of segmentation models that fire, in mmsegmentation's classes."""

from functools import partial

from mmcv.cnn import ConvModule
from mmengine.registry import MODELS
from mmseg.models.decode_heads import FPNHead
from torch import Tensor, nn
from torch.nn import functional as F

from ...build import build_part, config_errors
from ...layers.time import each_step, mean_over_time
from ...neurons import SpikingNeuron
from .streams import stream_of


@MODELS.register_module()
class SpikingFPNHead(FPNHead):
    """mmsegmentation's ``FPNHead`` with a neuron in front of every convolution, in place of ReLUs.

    Takes levels ``[T, B, C_i, H_i, W_i]``, returns scores ``[B, K, H_0, W_0]`` of K classes, the
    mean over time.

    Args:
        neuron (dict): Neuron config.
        kwargs: Arguments of mmsegmentation's class but ``act_cfg``.

    Raises:
        ConfigError: A key or value is wrong; the message begins with its path, ``decode_head.``.
    """

    without = ('act_cfg',)

    @config_errors('decode_head')
    def __init__(self, neuron: dict, **kwargs) -> None:
        super().__init__(act_cfg=None, **kwargs)
        build = partial(build_part, 'neuron', neuron, SpikingNeuron)
        self.neurons = nn.ModuleList(
            nn.ModuleList(build() for layer in head if isinstance(layer, ConvModule))
            for head in self.scale_heads
        )
        self.out_neuron = build()

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """``[T, B, C_i, H_i, W_i]`` levels to ``[B, K, H_0, W_0]``."""
        total = 0
        for i, x in enumerate(self._transform_inputs(inputs)):
            x = self._scaled(stream_of(x, 'decode_head'), i)
            if i:
                resize = partial(
                    F.interpolate,
                    size=total.shape[-2:],
                    mode='bilinear',
                    align_corners=self.align_corners,
                )
                x = each_step(resize, x)
            total = total + x
        return mean_over_time(each_step(self.cls_seg, self.out_neuron(total)))

    def _scaled(self, x: Tensor, level: int) -> Tensor:
        neurons = iter(self.neurons[level])
        for layer in self.scale_heads[level]:
            if isinstance(layer, ConvModule):
                x = next(neurons)(x)
            x = each_step(layer, x)
        return x
