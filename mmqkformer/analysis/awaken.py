"""Random weights that make a network fire as a trained one does."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..layers import SpikingBlock


def awaken(model: nn.Module, x: Tensor, gain: float = 1.5) -> nn.Module:
    """Sets norms so that every layer fires: a silent network would pass any comparison.

    The running statistics become those of ``x``, the affine parameters are drawn around ``gain``
    and a shift of 0.5, layer scales from 0.5 to 1: at their start a branch hardly shows.

    Args:
        model (nn.Module): Network with batch normalisation; changed in place.
        x (Tensor): What its forward takes, of the size that it is to be used at.
        gain (float): Standard deviation of what a norm gives, of each channel. Defaults to 1.5.

    Returns:
        nn.Module: The model, in eval mode.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        nn.init.uniform_(norm.weight, gain * 2 / 3, gain * 4 / 3)
        nn.init.normal_(norm.bias, 0.5, 0.2)
        norm.momentum = 1.0
    for block in model.modules():
        for name in block.residuals if isinstance(block, SpikingBlock) else ():
            if (scale := getattr(block, f'{name}_scale')) is not None:
                nn.init.uniform_(scale, 0.5, 1.0)
    with torch.no_grad():
        model.train()(x)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    return model.eval()
