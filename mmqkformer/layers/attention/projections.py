"""The projections of one input that attentions begin with, apart or as one convolution."""

from collections.abc import Iterator, Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...neurons import SpikingNeuron
from ...neurons.base import DescribedNeuron
from ...neurons.fused.call import are_watched
from ..conv import SpikingConv
from ..time import each_step


class Projecting(BaseModule):
    """An attention of ``[T, B, C, H, W]`` whose layers ``projections`` all read its input.

    Attributes:
        projections (tuple[str, ...]): Their names, in the order in which they are computed.

    Args:
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.
    """

    projections: tuple[str, ...] = ('query', 'key', 'value')

    def __init__(self, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self.joined: JoinedProjections | None = None

    def projected(self, x: Tensor) -> Iterator[Tensor]:
        """What each gives of ``[T, B, C, H, W]``, in their order, one as it is asked for."""
        if self.joined is not None:
            return iter(self.joined(x))
        return (getattr(self, name)(x) for name in self.projections)

    def join(self) -> None:
        """Computes all in one convolution, for inference, where they are plain ones without norms.

        Their neurons keep their names.
        """
        layers = [getattr(self, name) for name in self.projections]
        if not all(map(_joins, layers)):
            return
        neurons = [layer.neuron for layer in layers]
        self.joined = JoinedProjections([layer.conv for layer in layers], neurons)
        for name, neuron in zip(self.projections, neurons, strict=True):
            setattr(self, name, nn.ModuleDict(dict(neuron=neuron)))


class JoinedProjections(nn.Module):
    """1 x 1 convolutions of one input as one, and a neuron behind each.

    Neurons that compute alike fire in one call, unless a hook wants to see what one of them does.

    Args:
        convs (Sequence[nn.Conv2d]): The convolutions.
        neurons (Sequence[SpikingNeuron]): Their neurons, modules of somebody else.
    """

    def __init__(self, convs: Sequence[nn.Conv2d], neurons: Sequence[SpikingNeuron]) -> None:
        super().__init__()
        self.sizes = [conv.out_channels for conv in convs]
        first = convs[0].weight
        self.conv = nn.Conv2d(convs[0].in_channels, sum(self.sizes), 1)
        self.conv.to(first.device, first.dtype)
        with torch.no_grad():
            self.conv.weight.copy_(torch.cat([conv.weight for conv in convs]))
            biases = [first.new_zeros(conv.out_channels) for conv in convs]
            for conv, bias in zip(convs, biases, strict=True):
                if conv.bias is not None:
                    bias.copy_(conv.bias)
            self.conv.bias.copy_(torch.cat(biases))
        # In a tuple: they have their names elsewhere
        self.neurons = tuple(neurons)
        self.alike = all(
            isinstance(neuron, DescribedNeuron)
            and neuron.learnt() is None
            and neuron.dynamics == neurons[0].dynamics
            for neuron in neurons
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """``[T, B, C, H, W]`` to the spikes of each."""
        currents = each_step(self.conv, x)
        backends = {neuron.backend for neuron in self.neurons} if self.alike else ()
        if len(backends) == 1 and not are_watched(*self.neurons):
            return self.neurons[0](currents).split(self.sizes, dim=2)
        parts = currents.split(self.sizes, dim=2)
        return tuple(neuron(part) for neuron, part in zip(self.neurons, parts, strict=True))


def _joins(layer: nn.Module) -> bool:
    """Whether nothing stands between a 1 x 1 convolution and the neuron behind it."""
    if type(layer) is not SpikingConv or layer.fire != 'last' or layer.pool is not None:
        return False
    conv = layer.conv
    plain = type(conv) is nn.Conv2d and isinstance(layer.norm, nn.Identity) and layer.drop is None
    return plain and (conv.kernel_size, conv.stride, conv.groups) == ((1, 1), (1, 1), 1)
