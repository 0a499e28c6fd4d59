"""Spikes of neurons and feature maps of stages, recorded from a forward pass."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ..models.backbones.spiking_backbone import SpikingStage
from ..neurons import SpikingNeuron
from .record import recording


@dataclass
class Raster:
    """Spikes of a layer for one sample; the tensors are on the CPU.

    Attributes:
        spikes (Tensor): Number of spikes of each step and shown neuron, ``[T, n]``.
        neurons (int): How many the layer has; those shown are evenly spaced among them.
        levels (int): Most spikes of a neuron in a step, 1 of a binary one.
        rate (Tensor): Spikes of each step per neuron, over all of them, ``[T]``.
    """

    spikes: Tensor
    neurons: int
    levels: int
    rate: Tensor


@dataclass
class StageMap:
    """What a stage hands on, averaged over its channels.

    Attributes:
        stream (str): What that is: ``spikes``, ``sums`` of them or a ``membrane``.
        mean (Tensor): Mean over the channels, ``[T, B, H, W]``, on the CPU.
    """

    stream: str
    mean: Tensor


def below(name: str, pattern: str) -> bool:
    """Whether a module's name, or that of a module around it, matches a pattern.

    Args:
        name (str): Name with dots.
        pattern (str): Such as ``stages.1``, ``*.attention`` or ``*neuron``; ``*`` also matches
            dots.
    """
    parts = name.split('.')
    return any(fnmatchcase('.'.join(parts[: i + 1]), pattern) for i in range(len(parts)))


def record_rasters(
    network: nn.Module,
    forward: Callable[[], object],
    layer: str = '*',
    sample: int = 0,
    most: int = 200,
) -> dict[str, Raster]:
    """Runs a forward pass and returns the spikes of neurons, layer by layer.

    Args:
        network (nn.Module): Network that holds the neurons.
        forward (Callable): Runs the network, without arguments.
        layer (str): Which layers, see :func:`below`. Defaults to all.
        sample (int): Which sample of the batch. Defaults to 0.
        most (int): Neurons that are kept of a layer. Defaults to 200.

    Returns:
        dict[str, Raster]: By the layer's name in the network, in its order; of the last call where
        there were several.

    Raises:
        ValueError: No layer of neurons is of this name.
    """
    neurons = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, SpikingNeuron) and below(name, layer)
    }
    if not neurons:
        raise ValueError(f'layer={layer!r}: expected a name of layers of neurons')

    def raster(spikes: Tensor) -> tuple[Tensor, int, Tensor]:
        spikes = spikes[:, sample].flatten(1)
        count = spikes.size(1)
        shown = torch.linspace(0, count - 1, min(most, count), dtype=torch.float64).long()
        return spikes[:, shown].cpu(), count, spikes.mean(1).cpu()

    with torch.no_grad(), recording(network, lambda name, _: name in neurons, raster) as records:
        forward()
    rasters = {}
    for name, calls in records.items():
        if calls:
            (spikes, count, rate), neuron = calls[-1], neurons[name]
            rasters[name] = Raster(spikes / neuron.unit, count, neuron.levels, rate / neuron.unit)
    return rasters


def record_stage_maps(network: nn.Module, forward: Callable[[], object]) -> dict[str, StageMap]:
    """Runs a forward pass and returns the mean over the channels of what each stage hands on.

    Args:
        network (nn.Module): Network of stages.
        forward (Callable): Runs the network, without arguments.

    Returns:
        dict[str, StageMap]: By the stage's name in the network, in its order.

    Raises:
        ValueError: The network has no stages.
    """
    with torch.no_grad(), recording(network, SpikingStage, _mean_over_channels) as records:
        forward()
    return {
        name: StageMap(network.get_submodule(name).stream, calls[-1])
        for name, calls in records.items()
        if calls
    }


def _mean_over_channels(out: Tensor) -> Tensor:
    return out.mean(2).cpu()
