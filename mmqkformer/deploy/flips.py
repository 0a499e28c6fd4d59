"""How far a network that rounds otherwise fires otherwise."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..analysis.record import recording
from ..neurons import SpikingNeuron


@dataclass(frozen=True)
class Flips:
    """What two forms of a network fire differently on one input.

    Attributes:
        flips (int): Outputs of neurons, of all steps, that differ.
        outputs (int): Number of them.
        difference (float): Largest difference of what the networks give.
    """

    flips: int
    outputs: int
    difference: float

    def __str__(self) -> str:
        share = self.flips / self.outputs
        return (
            f'{self.flips:,} of {self.outputs:,} outputs of neurons differ ({share:.2e}), what '
            f'comes out by at most {self.difference:.2e}'
        )


@torch.no_grad()
def spike_flips(
    model: nn.Module, other: nn.Module, forward: Callable[[nn.Module], Tensor]
) -> Flips:
    """Compares the spikes of two forms of a network, such as a model and its :func:`fuse`.

    One flip makes others behind it: the share is that of a whole network, not of one rounding.

    Args:
        model (nn.Module): The network.
        other (nn.Module): Its other form, with neurons of the same names.
        forward (Callable[[nn.Module], Tensor]): Runs one of them on the input, and gives what
            comes out, a tensor of the same shape for both.

    Raises:
        ValueError: The neurons have other names.
    """
    with recording(model, SpikingNeuron) as spikes:
        expected = forward(model)
    with recording(other, SpikingNeuron) as found:
        given = forward(other)
    if found.keys() != spikes.keys():
        raise ValueError(f'neurons {sorted(found.keys() ^ spikes.keys())}: expected in both')
    pairs = [pair for name in found for pair in zip(spikes[name], found[name], strict=True)]
    return Flips(
        flips=sum(int((ours != theirs).sum()) for ours, theirs in pairs),
        outputs=sum(ours.numel() for ours, _ in pairs),
        difference=(given - expected).abs().max().item(),
    )
