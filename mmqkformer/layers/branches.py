"""Branches beside the attentions: ``[T, B, C, H, W]`` in, currents of the same shape out."""

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..checks import check_bool, check_int, check_number
from .conv import MAX_HIDDEN, MAX_KERNEL, SpikingConv
from .time import merge_time, split_time


def _hidden_channels(embed_dims: int, ratio: float) -> int:
    check_number('ratio', ratio, above=0, high=MAX_HIDDEN)
    hidden = int(embed_dims * ratio)
    if not 1 <= hidden <= MAX_HIDDEN:
        raise ValueError(f'ratio={ratio!r}: expected 1 to {MAX_HIDDEN} hidden channels')
    return hidden


def _check_odd(kernel_size: int) -> int:
    """Only odd kernels keep every size."""
    check_int('kernel_size', kernel_size, 1, MAX_KERNEL)
    if kernel_size % 2 == 0:
        raise ValueError(f'kernel_size={kernel_size!r}: expected an odd number')
    return kernel_size


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
        drop (float): Dropout behind both convolutions. Defaults to 0.0.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.

    Raises:
        ValueError: There would be no hidden channel, or more than any network has; or ``drop`` is
            out of range.
    """

    def __init__(
        self,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        ratio: float = 4.0,
        drop: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        hidden = _hidden_channels(embed_dims, ratio)
        args = dict(bias=True, drop=drop, norm_cfg=norm_cfg)
        self.fc1 = SpikingConv(embed_dims, hidden, 1, neuron=neuron, **args)
        self.fc2 = SpikingConv(hidden, embed_dims, 1, **args)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        return self.fc2(self.fc1(x))


@MODELS.register_module()
class ConvBranch(BaseModule):
    """``SN(BN(conv))`` to ``ratio`` times the channels, then ``BN(conv)`` back; dense, no biases.

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    The second half of Meta-SpikeFormer's convolution block (arXiv 2404.03663), ``ChannelConv``
    there.

    Args:
        embed_dims (int): Channels C.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        ratio (float): Hidden channels over C. Defaults to 4.0.
        kernel_size (int): Of both convolutions, odd. Defaults to 3.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.

    Raises:
        ValueError: ``ratio`` or ``kernel_size`` is out of range.
    """

    def __init__(
        self,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        ratio: float = 4.0,
        kernel_size: int = 3,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        hidden = _hidden_channels(embed_dims, ratio)
        _check_odd(kernel_size)
        self.conv1 = SpikingConv(embed_dims, hidden, kernel_size, neuron=neuron, norm_cfg=norm_cfg)
        self.conv2 = SpikingConv(hidden, embed_dims, kernel_size, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        return self.conv2(self.conv1(x))


@MODELS.register_module()
class ConvUnit(BaseModule):
    """One convolution: ``BN(conv)``.

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    The depthwise one mixes tokens in Max-Former (arXiv 2505.18608); two of 1 x 1, each with a
    shortcut of its own, are its MLP where the hidden channels are as many as the stage's.

    Args:
        embed_dims (int): Channels C.
        norm_cfg (dict): Config of the norm.
        kernel_size (int): Odd. Defaults to 3.
        depthwise (bool): Whether each channel is a group of its own. Defaults to False.
        bias (bool): Whether the convolution has a bias. Defaults to True.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.

    Raises:
        ValueError: ``kernel_size`` is out of range.
    """

    def __init__(
        self,
        embed_dims: int,
        norm_cfg: dict,
        kernel_size: int = 3,
        depthwise: bool = False,
        bias: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        groups = embed_dims if check_bool('depthwise', depthwise) else 1
        _check_odd(kernel_size)
        self.conv = SpikingConv(
            embed_dims, embed_dims, kernel_size, groups=groups, bias=bias, norm_cfg=norm_cfg
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        return self.conv(x)


@MODELS.register_module()
class SepConv(BaseModule):
    """Separable convolution: ``BN(conv1x1(depthwise(SN(BN(conv1x1)))))``, no biases.

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    The token mixer of Meta-SpikeFormer's convolution block (arXiv 2404.03663). Neither norm nor
    neuron stands between the depthwise convolution and the last.

    Args:
        embed_dims (int): Channels C.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        ratio (float): Hidden channels over C. Defaults to 2.0.
        kernel_size (int): Of the depthwise convolution, odd. Defaults to 7.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.

    Raises:
        ValueError: ``ratio`` or ``kernel_size`` is out of range.
    """

    def __init__(
        self,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        ratio: float = 2.0,
        kernel_size: int = 7,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        hidden = _hidden_channels(embed_dims, ratio)
        padding = _check_odd(kernel_size) // 2
        self.expand = SpikingConv(embed_dims, hidden, 1, neuron=neuron, norm_cfg=norm_cfg)
        self.depthwise = nn.Conv2d(
            hidden, hidden, kernel_size, padding=padding, groups=hidden, bias=False
        )
        self.reduce = SpikingConv(hidden, embed_dims, 1, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        y = self.depthwise(merge_time(self.expand(x)))
        return self.reduce(split_time(y, x.size(0)))
