"""Branches beside the attentions: ``[T, B, C, H, W]`` in, currents of the same shape out."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..checks import check_bool, check_int, check_list, check_number
from ..saved import convolved
from ..time_axis import merge_time, split_time
from .conv import MAX_HIDDEN, MAX_KERNEL, SpikingConv


def _hidden_channels(embed_dims: int, ratio: float) -> int:
    check_number('ratio', ratio, above=0, high=MAX_HIDDEN)
    hidden = int(embed_dims * ratio)
    if not 1 <= hidden <= MAX_HIDDEN:
        raise ValueError(f'ratio={ratio!r}: expected 1 to {MAX_HIDDEN} hidden channels')
    return hidden


def _check_odd(key: str, kernel_size: int) -> int:
    """Only odd kernels keep every size."""
    check_int(key, kernel_size, 1, MAX_KERNEL)
    if kernel_size % 2 == 0:
        raise ValueError(f'{key}={kernel_size!r}: expected an odd number')
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
    """``SN(BN(conv))`` to ``ratio`` times the channels, then ``BN(conv)`` back; both dense.

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    The second half of Meta-SpikeFormer's convolution block (arXiv 2404.03663), ``ChannelConv``
    there; with ``ratio=1`` the block of a residual network, and its bottleneck with ``ratio=0.25``
    and ``kernel_size=(1, 3, 1)``. Without the neurons between the convolutions, ``fire=False``, it
    is linear: one convolution once folded.

    Args:
        embed_dims (int): Channels C.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        ratio (float): Hidden channels over C. Defaults to 4.0.
        kernel_size (int | Sequence[int]): Of the two convolutions, or of each of as many as are
            listed, odd. Defaults to 3.
        bias (bool): Whether they have biases. Defaults to False.
        fire (bool): Whether neurons stand between them. Defaults to True.
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
        kernel_size: int | Sequence[int] = 3,
        bias: bool = False,
        fire: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        hidden = _hidden_channels(embed_dims, ratio)
        if isinstance(kernel_size, (list, tuple)):
            kernels = check_list('kernel_size', kernel_size, _check_odd)
        else:
            kernels = [_check_odd('kernel_size', kernel_size)] * 2
        if len(kernels) < 2:
            raise ValueError(f'kernel_size={kernel_size!r}: expected at least two')
        args = dict(bias=check_bool('bias', bias), norm_cfg=norm_cfg)
        inner = neuron if check_bool('fire', fire) else None
        self.convs = [f'conv{i}' for i in range(1, len(kernels) + 1)]
        widths = [embed_dims, *[hidden] * (len(kernels) - 1), embed_dims]
        for name, kernel, in_, out in zip(self.convs, kernels, widths, widths[1:]):
            fires = None if name == self.convs[-1] else inner
            self.add_module(name, SpikingConv(in_, out, kernel, neuron=fires, **args))

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        for name in self.convs:
            x = getattr(self, name)(x)
        return x


@MODELS.register_module()
class GWFFN(BaseModule):
    """Group-wise feed-forward network of SpikingResformer (arXiv 2403.14302), without biases.

    Maps spikes ``[T, B, C, H, W]`` to currents of the same shape.

    ``u = BN(conv1x1(x))`` of ``ratio`` times the channels, a residual of its own,
    ``w = u + BN(conv3x3(SN(u)))`` in groups, and ``BN(conv1x1(SN(w)))`` back.

    Args:
        embed_dims (int): Channels C.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        ratio (float): Hidden channels over C. Defaults to 4.0.
        group_size (int): Channels of a group of the 3 x 3 convolution, a divisor of the hidden
            ones; they are one group where there are fewer. Defaults to 64.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.

    Raises:
        ValueError: ``ratio`` or ``group_size`` is out of range.
    """

    def __init__(
        self,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        ratio: float = 4.0,
        group_size: int = 64,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        hidden = _hidden_channels(embed_dims, ratio)
        check_int('group_size', group_size, 1)
        size = min(group_size, hidden)
        if hidden % size:
            raise ValueError(f'group_size={group_size!r}: expected a divisor of {hidden}')
        args = dict(fire='first', neuron=neuron, norm_cfg=norm_cfg)
        self.up = SpikingConv(embed_dims, hidden, 1, norm_cfg=norm_cfg)
        self.conv = SpikingConv(hidden, hidden, 3, groups=hidden // size, **args)
        self.down = SpikingConv(hidden, embed_dims, 1, **args)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        u = self.up(x)
        return self.down(u + self.conv(u))


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
        _check_odd('kernel_size', kernel_size)
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
    neuron stands between the depthwise convolution and the last; with ``fire=True`` both do, as in
    E-SpikeFormer (arXiv 2411.16061): ``BN(conv1x1(SN(BN(depthwise(SN(BN(conv1x1)))))))``.

    Args:
        embed_dims (int): Channels C.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        ratio (float): Hidden channels over C. Defaults to 2.0.
        kernel_size (int): Of the depthwise convolution, odd. Defaults to 7.
        fire (bool): Whether the depthwise convolution has a norm and a neuron. Defaults to False.
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
        fire: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        hidden = _hidden_channels(embed_dims, ratio)
        padding = _check_odd('kernel_size', kernel_size) // 2
        self.expand = SpikingConv(embed_dims, hidden, 1, neuron=neuron, norm_cfg=norm_cfg)
        self.fire = check_bool('fire', fire)
        self.depthwise = (
            SpikingConv(
                hidden, hidden, kernel_size, groups=hidden, neuron=neuron, norm_cfg=norm_cfg
            )
            if fire
            else nn.Conv2d(hidden, hidden, kernel_size, padding=padding, groups=hidden, bias=False)
        )
        self.reduce = SpikingConv(hidden, embed_dims, 1, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` spikes to currents of the same shape."""
        y = self.expand(x)
        if self.fire:
            return self.reduce(self.depthwise(y))
        y = convolved(self.depthwise, merge_time(y))
        return self.reduce(split_time(y, x.size(0)))
