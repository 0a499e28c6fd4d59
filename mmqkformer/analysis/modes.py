"""A model in another mode for a while, and a training that leaves no trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Sets every module of a model to eval mode, and back to what it was.

    Args:
        model (nn.Module): The model.
    """
    # Flag by flag: parts of a model may be in modes of their own, and train() may freeze some
    training = {module: module.training for module in model.modules()}
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


def generators_kept(model: nn.Module) -> torch.random.fork_rng:
    """Gives PyTorch's random generators, of the CPU and the model's devices, their state back."""
    devices = {p.device for p in model.parameters() if p.device.type == 'cuda'}
    return torch.random.fork_rng(devices=list(devices))


@contextmanager
def rehearsing(model: nn.Module) -> Iterator[None]:
    """Lets a model run as it is, in training mode too: buffers and generators stay what they were.

    Args:
        model (nn.Module): The model; running statistics are buffers.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with generators_kept(model):
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
