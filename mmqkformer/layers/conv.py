"""Convolution, normalisation, pooling and neuron: the unit that every layer is made of."""

import torch
from mmcv.cnn import build_norm_layer
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .time import merge_time, split_time


def max_pool() -> nn.MaxPool2d:
    """The model's down-sampling: 3 x 3, stride 2, padding 1, H -> ceil(H / 2)."""
    return nn.MaxPool2d(3, stride=2, padding=1)


def norm_of_copies(norm: nn.Module, x: Tensor, copies: int) -> Tensor:
    """Normalises ``copies`` identical copies of ``x`` by computing one of them.

    Mean and variance of the copies are those of one copy. Only the running variance differs: its
    Bessel factor n / (n - 1) counts the elements of all copies.

    Args:
        norm (nn.Module): Normalisation layer.
        x (Tensor): ``[B, C, H, W]``.
        copies (int): Number of copies, T for a static image.

    Returns:
        Tensor: One normalised copy, ``[B, C, H, W]``.
    """
    updates = isinstance(norm, _BatchNorm) and norm.training and norm.track_running_stats
    if copies == 1 or not updates:
        return norm(x)
    before = norm.running_var.clone()
    y = norm(x)
    n = x.numel() // x.size(1)
    if isinstance(norm, nn.SyncBatchNorm) and torch.distributed.is_initialized():
        n *= torch.distributed.get_world_size(norm.process_group)
    momentum = norm.momentum
    if momentum is None:
        momentum = 1.0 / norm.num_batches_tracked.item()
    bessel_of_copies = copies * (n - 1) / (copies * n - 1)
    kept = before * (1.0 - momentum)
    # Through .data: autograd saved the buffer, though training-mode gradients never read it.
    norm.running_var.data.copy_(kept + (norm.running_var - kept) * bessel_of_copies)
    return y


class SpikingConv(nn.Module):
    """Convolution - norm [- max-pool] [- neuron] on ``[T, B, C, H, W]``.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels.
        kernel_size (int): Odd kernel size; the padding is ``kernel_size // 2``.
        stride (int): Stride. Defaults to 1.
        bias (bool): Whether the convolution has a bias. Defaults to False.
        pool (bool): Whether a max-pool comes before the neuron. Defaults to False.
        neuron (dict | None): Neuron config; None returns currents. Defaults to None.
        norm_cfg (dict): Config of the norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        bias: bool = False,
        pool: bool = False,
        neuron: dict | None = None,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=bias
        )
        self.norm = build_norm_layer(norm_cfg, out_channels)[1]
        self.pool = max_pool() if pool else None
        self.neuron = MODELS.build(neuron) if neuron else None

    def forward(self, x: Tensor, copies: int = 1) -> Tensor:
        """Runs the unit.

        Args:
            x (Tensor): ``[T, B, C, H, W]``, or one step ``[1, B, C, H, W]`` that stands for all.
            copies (int): Number of equal steps that ``x`` stands for. Everything up to the neuron
                is computed once for them. Defaults to 1.

        Returns:
            Tensor: Spikes, or currents without a neuron, ``[T, B, C', H', W']``.
        """
        time_steps = x.size(0)
        x = self.conv(merge_time(x))
        x = norm_of_copies(self.norm, x, copies)
        if self.pool is not None:
            x = self.pool(x)
        x = split_time(x, time_steps)
        if copies > 1:
            x = x.expand(copies, *x.shape[1:])
        return x if self.neuron is None else self.neuron(x)
