"""Heads of two-stage detectors that fire, in mmdet's classes.

Each takes ``[T, ...]``, fires in front of its layers and returns the mean over time, so that
anchors, losses, samplers, proposals and boxes are mmdet's own.
"""

from functools import partial

import torch
from mmdet.models import (
    FCNMaskHead,
    RPNHead,
    Shared2FCBBoxHead,
    SingleRoIExtractor,
    StandardRoIHead,
)
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...build import build_part, config_errors
from ...layers.time import each_step, mean_over_time
from ...neurons import SpikingNeuron
from ...time_axis import merge_time
from .streams import stream_of


def _neuron(cfg: dict) -> SpikingNeuron:
    return build_part('neuron', cfg, SpikingNeuron)


@MODELS.register_module()
class SpikingRPNHead(RPNHead):
    """mmdet's ``RPNHead`` with a neuron in front of every convolution, in place of the ReLU.

    Takes levels ``[T, B, C, H, W]`` and returns scores ``[B, A, H, W]`` and boxes
    ``[B, 4 A, H, W]`` of A anchors, the mean over time of ``V SN(W SN(x))``.

    Args:
        in_channels (int): Channels C.
        neuron (dict): Neuron config.
        kwargs: Arguments of mmdet's class; ``num_convs`` is 1.

    Raises:
        ConfigError: A key or value is wrong; the message begins with its path, ``rpn_head.``.
    """

    without = ('num_convs',)

    @config_errors('rpn_head')
    def __init__(self, in_channels: int, neuron: dict, **kwargs) -> None:
        super().__init__(in_channels, **kwargs)
        self.conv_neuron, self.out_neuron = _neuron(neuron), _neuron(neuron)

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[T, B, C, H, W]`` of one level to ``[B, A, H, W]`` and ``[B, 4 A, H, W]``."""
        x = each_step(self.rpn_conv, self.conv_neuron(stream_of(x, 'rpn_head')))
        spikes = self.out_neuron(x)
        return tuple(mean_over_time(each_step(f, spikes)) for f in (self.rpn_cls, self.rpn_reg))


@MODELS.register_module()
class SpikingRoIHead(StandardRoIHead):
    """mmdet's ``StandardRoIHead`` on levels ``[T, B, C, H, W]``, with its arguments.

    It takes features apart by image, so that inside images come first: its extractors, which are
    :class:`SpikingRoIExtractor`, take ``[B, T, C, H, W]``.
    """

    def forward(self, x: tuple[Tensor, ...], *args, **kwargs) -> tuple:
        """Raw outputs of levels ``[T, B, C, H, W]``, see mmdet's class."""
        return super().forward(_images_first(x), *args, **kwargs)

    def loss(self, x: tuple[Tensor, ...], *args, **kwargs) -> dict:
        """Losses of levels ``[T, B, C, H, W]``, see mmdet's class."""
        return super().loss(_images_first(x), *args, **kwargs)

    def predict(self, x: tuple[Tensor, ...], *args, **kwargs) -> list:
        """Objects of levels ``[T, B, C, H, W]``, see mmdet's class."""
        return super().predict(_images_first(x), *args, **kwargs)


def _images_first(x: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(stream_of(level, 'roi_head').transpose(0, 1) for level in x)


@MODELS.register_module()
class SpikingRoIExtractor(SingleRoIExtractor):
    """mmdet's ``SingleRoIExtractor`` at every time step, with its arguments; of a SpikingRoIHead.

    Takes levels ``[B, T, C, H, W]`` and n regions ``[n, 5]``, returns ``[T, n, C, h, w]``.
    """

    def forward(
        self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None
    ) -> Tensor:
        """``[B, T, C, H, W]`` levels and ``[n, 5]`` regions to ``[T, n, C, h, w]``."""
        images, time_steps = feats[0].shape[:2]
        # Row t * B + b of the merged levels is step t of image b
        of_steps = rois.repeat(time_steps, 1, 1)
        of_steps[..., 0] += images * torch.arange(time_steps, device=rois.device)[:, None]
        merged = tuple(merge_time(x.transpose(0, 1)) for x in feats)
        regions = super().forward(merged, of_steps.flatten(0, 1), roi_scale_factor)
        return regions.unflatten(0, (time_steps, len(rois)))


@MODELS.register_module()
class SpikingBBoxHead(Shared2FCBBoxHead):
    """mmdet's ``Shared2FCBBoxHead`` with a neuron in front of each of the two shared layers.

    Takes regions ``[T, n, C, h, w]``, returns scores ``[n, K + 1]`` of K classes and boxes
    ``[n, 4 K]``, of the mean over time of ``W_2 SN(W_1 SN(x))``.

    Args:
        neuron (dict): Neuron config.
        kwargs: Arguments of mmdet's class; there is no pooling in front.

    Raises:
        ConfigError: A key or value is wrong; the message begins with its path,
            ``roi_head.bbox_head.``.
    """

    without = ('with_avg_pool',)

    @config_errors('roi_head.bbox_head')
    def __init__(self, neuron: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        self.neurons = nn.ModuleList(_neuron(neuron) for _ in self.shared_fcs)

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """``[T, n, C, h, w]`` to ``[n, K + 1]`` and ``[n, 4 K]``."""
        x = x.flatten(2)
        for neuron, layer in zip(self.neurons, self.shared_fcs):
            x = layer(neuron(x))
        # What follows is linear, and no neuron stands in front of it
        x = mean_over_time(x)
        scores = self.fc_cls(x) if self.with_cls else None
        return scores, self.fc_reg(x) if self.with_reg else None


@MODELS.register_module()
class SpikingMaskHead(FCNMaskHead):
    """mmdet's ``FCNMaskHead`` with a neuron in front of every convolution, in place of the ReLUs.

    Takes regions ``[T, n, C, h, w]``, returns masks ``[n, K, 2h, 2w]`` of K classes, the mean over
    time.

    Args:
        neuron (dict): Neuron config.
        kwargs: Arguments of mmdet's class.

    Raises:
        ConfigError: A key or value is wrong; the message begins with its path,
            ``roi_head.mask_head.``.
    """

    @config_errors('roi_head.mask_head')
    def __init__(self, neuron: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        self.neurons = nn.ModuleList(_neuron(neuron) for _ in self.convs)
        self.upsample_neuron = _neuron(neuron) if self.upsample_method == 'deconv' else None
        self.logits_neuron = _neuron(neuron)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, n, C, h, w] -> [n, K, 2h, 2w]``."""
        for neuron, conv in zip(self.neurons, self.convs):
            x = each_step(partial(conv, activate=False), neuron(x))
        if self.upsample_neuron is not None:
            x = self.upsample_neuron(x)
        if self.upsample is not None:
            x = each_step(self.upsample, x)
        return mean_over_time(each_step(self.conv_logits, self.logits_neuron(x)))
