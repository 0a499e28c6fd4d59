"""Re-parameterisable convolutions: linear in eval mode, richer in training."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ..build import build_part
from ..neurons import SpikingNeuron
from ..saved import convolved, derived, normalised
from ..time_axis import merge_time, split_time
from .conv import build_norm


def _conv_and_norm(conv: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """``norm(conv(x))`` ``[B, C, H, W]``."""
    y = convolved(conv, x)
    return normalised(norm, y, norm(y))


class BorderNorm(nn.Module):
    """A batch norm, then a border of one pixel of what it would make of 0.

    The border has ``beta - mean * gamma / sqrt(var + eps)`` of the running statistics, in training
    too, where the interior is normalised by the batch, and no gradient. A convolution without
    padding behind it is then one with padding in front of it, once both are one.

    Args:
        channels (int): Channels.
        norm_cfg (dict): Config of the norm.

    Raises:
        ValueError: It is no batch norm with weights and running statistics.
    """

    def __init__(self, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.norm = build_norm(norm_cfg, channels)
        is_batch_norm = isinstance(self.norm, _BatchNorm)
        if not (is_batch_norm and self.norm.affine and self.norm.track_running_stats):
            raise ValueError(
                f'norm_cfg={norm_cfg!r}: expected a batch norm with weights and running '
                f'statistics, of which RepConv makes its border'
            )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W] -> [B, C, H + 2, W + 2]``."""
        norm = self.norm
        y = normalised(norm, x, norm(x))
        with torch.no_grad():  # behind the update of the running statistics
            statistics = norm.running_mean, norm.running_var, norm.weight, norm.bias
            nothing = torch.zeros_like(norm.bias)
            border = F.batch_norm(nothing[None], *statistics, eps=norm.eps)[0]
            frame = F.pad(torch.zeros_like(y[:1, :1]), [1] * 4, value=1.0)
            border = frame * border[:, None, None].to(y.dtype)
        return derived(lambda y: F.pad(y, [1] * 4) + border, y)


class RepConv(nn.Module):
    """1 x 1 convolution, norm and border, 3 x 3 depthwise, 1 x 1, norm: a 3 x 3 once folded.

    Args:
        channels (int): Channels.
        norm_cfg (dict): Config of the batch norms.

    Raises:
        ValueError: They are no batch norms.
    """

    def __init__(self, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        self.border = BorderNorm(channels, norm_cfg)
        self.depthwise = nn.Conv2d(channels, channels, 3, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = build_norm(norm_cfg, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to the same shape."""
        x = self.border(convolved(self.mix, x))
        return _conv_and_norm(self.pointwise, self.norm, convolved(self.depthwise, x))

    @torch.no_grad()
    def folded(self) -> nn.Conv2d:
        """The one 3 x 3 convolution that it is in eval mode.

        Zeros around the image become the border behind the inner norm, so that padding the image
        does what the border does.
        """
        scale, shift = _affine(self.border.norm)
        mix = scale[:, None] * self.mix.weight[:, :, 0, 0]
        depthwise, pointwise = self.depthwise.weight[:, 0], self.pointwise.weight[:, :, 0, 0]
        weight = torch.einsum('oc,cij,cd->odij', pointwise, depthwise, mix)
        bias = pointwise @ (depthwise.sum((1, 2)) * shift)
        return _convolution(weight, bias, self.norm)


class PointwiseRepConv(nn.Module):
    """1 x 1 convolution to ``ratio`` times the channels, norm, 1 x 1 back, norm; 1 x 1 once folded.

    Args:
        channels (int): Channels.
        norm_cfg (dict): Config of the norms.
        ratio (float): Hidden channels over the others. Defaults to 1.5.
    """

    def __init__(self, channels: int, norm_cfg: dict, ratio: float = 1.5) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.expand = nn.Conv2d(channels, hidden, 1, bias=False)
        self.inner_norm = build_norm(norm_cfg, hidden)
        self.reduce = nn.Conv2d(hidden, channels, 1, bias=False)
        self.norm = build_norm(norm_cfg, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to the same shape."""
        x = _conv_and_norm(self.expand, self.inner_norm, x)
        return _conv_and_norm(self.reduce, self.norm, x)

    @torch.no_grad()
    def folded(self) -> nn.Conv2d:
        """The one 1 x 1 convolution that it is in eval mode."""
        scale, shift = _affine(self.inner_norm)
        reduce = self.reduce.weight[:, :, 0, 0]
        weight = reduce @ (scale[:, None] * self.expand.weight[:, :, 0, 0])
        return _convolution(weight[:, :, None, None], reduce @ shift, self.norm)


def _affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Factor and summand of each channel that a batch norm is in eval mode."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - scale * norm.running_mean


def _convolution(weight: Tensor, bias: Tensor, norm: _BatchNorm) -> nn.Conv2d:
    """The convolution of a weight ``[out, in, k, k]`` and a bias, with the norm behind it."""
    out, in_, kernel, _ = weight.shape
    scale, shift = _affine(norm)
    conv = nn.Conv2d(in_, out, kernel, padding=kernel // 2).to(weight)
    conv.weight.copy_(scale[:, None, None, None] * weight)
    conv.bias.copy_(scale * bias + shift)
    return conv


class SpikingRepConv(nn.Module):
    """RepConv, a norm of its own and, where it is asked for, a neuron.

    Args:
        channels (int): Channels.
        pointwise (bool): Whether it is a :class:`PointwiseRepConv`. Defaults to False.
        neuron (dict | None): Neuron config; None fires nowhere. Defaults to None.
        norm_cfg (dict): Config of the norms, of batch norms unless ``pointwise``.

    Raises:
        ValueError: They are no batch norms.
    """

    def __init__(
        self,
        channels: int,
        *,
        pointwise: bool = False,
        neuron: dict | None = None,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.conv = (PointwiseRepConv if pointwise else RepConv)(channels, norm_cfg)
        self.norm = build_norm(norm_cfg, channels)
        self.neuron = None if neuron is None else build_part('neuron', neuron, SpikingNeuron)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to spikes, or currents, of the same shape."""
        y = self.conv(merge_time(x))
        x = split_time(normalised(self.norm, y, self.norm(y)), x.size(0))
        return x if self.neuron is None else self.neuron(x)
