"""What everybody needs of a spiking neuron."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class SpikingNeuron(nn.Module, ABC):
    """Base of the neurons: a function from currents ``[T, ...]`` to spikes ``[T, ...]``.

    The membrane starts anew in every call and is forgotten after it: nothing has to be reset, and
    no state is in a state dict or a copy. Under autocast the membrane is float32 and the spikes,
    exact in any type, come back in the type of the input.

    Attributes:
        levels (int): Highest number of spikes that a step emits; 1 of a binary neuron.
        unit (float): Value of one spike: outputs are ``unit`` times 0, 1, ..., ``levels``.
        time_axis (bool): Whether there may be more than one step.
    """

    levels: int = 1
    unit: float = 1.0
    time_axis: bool = True

    @abstractmethod
    def fire(self, x: Tensor) -> Tensor:
        """Spikes ``[T, ...]`` of currents ``[T, ...]`` in float32 or float64, of the same type."""

    def forward(self, x: Tensor) -> Tensor:
        """Runs the layer over all T steps.

        Args:
            x (Tensor): Input currents, ``[T, ...]``.

        Returns:
            Tensor: Spikes, multiples of ``unit``, of the shape and type of ``x``.
        """
        wide = x if x.dtype == torch.float64 else x.float()
        return self.fire(wide).to(x.dtype)
