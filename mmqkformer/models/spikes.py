"""Spike features that tell a layer made for images why it cannot take them."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# What the stock necks and heads of mmpretrain, mmdet and mmsegmentation do first to a feature map.
_IMAGE_LAYERS = {
    F.adaptive_avg_pool2d,
    F.avg_pool2d,
    F.batch_norm,
    F.interpolate,
    F.linear,
    F.max_pool2d,
    F.adaptive_max_pool2d,
    torch.conv2d,
    torch.conv_transpose2d,
}


# What must not be marked again: the way out of the subclass, and the tensor that a view is of: its
# base would have a base without end, which torch.compile follows to the last.
_LEFT_AS_THEY_ARE = {Tensor.as_subclass, Tensor._base.__get__}


class SpikeFeatures(Tensor):
    """``[T, B, C, H, W]`` of a backbone with ``out='spikes'`` or ``'stream'``.

    A plain tensor for everything but the layers that take images ``[B, C, H, W]``, which would
    fail on it, or take time for the batch, with a message that names no cause.
    """

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        x = args[0] if args else (kwargs or {}).get('input')
        x = x[0] if isinstance(x, (list, tuple)) and x else x
        if func in _IMAGE_LAYERS and isinstance(x, SpikeFeatures) and x.dim() == 5:
            raise ValueError(
                f"backbone.out='spikes' or 'stream' gives features [T, B, C, H, W], here "
                f'{list(x.shape)}, to a layer ({func.__name__}) that takes [B, C, H, W]: '
                f"set backbone.out='rates', or use a spiking neck or head "
                f'(PEDSNeck, SpikingFPN, SpikingClsHead)'
            )
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
        # What a clamp or a power makes of spikes over time is no image either
        if func not in _LEFT_AS_THEY_ARE and type(result) is Tensor and result.dim() == 5:
            result = result.as_subclass(cls)
        return result


def mark_spikes(x: Tensor) -> Tensor:
    """``x`` as :class:`SpikeFeatures`; itself while it is compiled, exported or traced.

    A graph knows no subclass: ``torch.compile`` would break at it, ``torch.export`` and ONNX fail.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return x
    return x.as_subclass(SpikeFeatures)


def plain_tensor(x: Tensor) -> Tensor:
    """``x`` without the mark of :func:`mark_spikes`; itself where it has none."""
    return x.as_subclass(Tensor) if isinstance(x, SpikeFeatures) else x
