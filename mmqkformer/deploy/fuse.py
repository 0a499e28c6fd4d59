"""Networks with the norms folded into the convolutions in front of them, for inference."""

import copy

import torch
from mmcv.cnn import fuse_conv_bn
from torch import nn

from ..layers.attention.projections import Projecting
from ..layers.quant import quantised_layers
from ..layers.rep_conv import PointwiseRepConv, RepConv


def fuse(model: nn.Module) -> nn.Module:
    """Folds batch norms and re-parameterisable convolutions, for inference.

    A RepConv becomes one convolution, and each batch norm goes into the convolution in front of
    it: ``W' = gamma W / sqrt(var + eps)``, ``b' = beta + gamma (b - mean) / sqrt(var + eps)``. In
    float64 all spikes stay; in float32 rounding may flip some, see :func:`spike_flips`. Query, key
    and value are one convolution. Feature maps lie channels last, as the convolutions compute them
    fastest.

    Args:
        model (nn.Module): A backbone, or a model with one, of ``[B, C, H, W]`` images.

    Returns:
        nn.Module: A copy in eval mode; training it would not be training the network.

    Raises:
        ValueError: A layer has quantised weights, whose steps a norm would change.
    """
    if quantised := list(quantised_layers(model)):
        raise ValueError(
            f'{quantised[0]}: its weights are quantised, and a norm folded into them would change '
            f'their steps; {len(quantised)} such layers. Expected in its place: mmqkformer.deploy.'
            f'to_int8 on a CPU, or save_packed'
        )
    model = copy.deepcopy(model).eval()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, (RepConv, PointwiseRepConv)):
                setattr(parent, name, child.folded())
    model = fuse_conv_bn(model)
    for module in list(model.modules()):
        if isinstance(module, Projecting):
            module.join()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    return model


def as_deployed(model: nn.Module) -> tuple[nn.Module, str]:
    """A model with its norms folded where that can be, and how it is, in words.

    Args:
        model (nn.Module): See :func:`fuse`. Of quantised weights it is the model itself.
    """
    if quantised_layers(model):
        return model, 'as trained: norms do not fold into quantised weights'
    return fuse(model), 'as deployed: norms and RepConvs are folded'
