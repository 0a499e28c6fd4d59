"""What everybody needs of a spiking neuron."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ..saved import carried, cast, note_spikes
from .backends import choose_backend
from .dynamics import Dynamics


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
        wide = cast(x, x.dtype if x.dtype == torch.float64 else torch.float32)
        return cast(self.fire(wide), x.dtype)


class DescribedNeuron(SpikingNeuron):
    """A neuron of a frozen description, which a backend computes.

    Args:
        dynamics (Dynamics): The description.
        backend (str): See :class:`~mmqkformer.neurons.IntegrateAndFire`.

    Raises:
        ValueError: The backend is unknown or does not support this.
    """

    def __init__(self, dynamics: Dynamics, backend: str) -> None:
        super().__init__()
        choose_backend(backend, dynamics)
        self.dynamics = dynamics
        self.backend = backend

    def forward(self, x: Tensor) -> Tensor:
        """See the base class; the backend widens the membrane, of ``x`` where it has to."""
        return self.fire(x)

    def fire(self, x: Tensor) -> Tensor:
        """Spikes ``[T, ...]`` of currents ``[T, ...]`` in any type, of the same type."""
        backend, given = choose_backend(self.backend, self.dynamics, x)
        spikes = backend.fire(self.dynamics, carried(x, given), self.learnt())
        return cast(note_spikes(spikes, self.levels, self.unit), x.dtype)

    def learnt(self) -> Tensor | None:
        """The learnt logit of 1 / tau, a 0-d tensor, where there is one."""
        return None

    def extra_repr(self) -> str:
        return f'{self.dynamics}, backend={self.backend!r}'
