"""Stateless spiking neurons on ``[T, ...]``."""

import math
from abc import ABC, abstractmethod

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..checks import check_bool, check_number
from .backends import get_backend
from .dynamics import Leak
from .surrogate import Surrogate


class SpikingNeuron(nn.Module, ABC):
    """Base of the neurons: a function from currents ``[T, ...]`` to spikes ``[T, ...]``.

    The membrane starts at V_reset in every call and is forgotten after it: nothing has to be
    reset, and no state is in a state dict or a copy. Under autocast the membrane is float32 and
    the spikes, exact in any type, come back in the type of the input.

    Args:
        v_threshold (float): Firing threshold V_th. Defaults to 1.0.
        v_reset (float | None): Potential after a spike and at the start; None subtracts V_th after
            a spike and starts at 0. Defaults to 0.0.
        surrogate (dict | Surrogate | None): Surrogate gradient. Defaults to None, which is
            ``dict(type='SigmoidSurrogate', alpha=4.0)``.
        detach_reset (bool): Whether the reset carries no gradient. Defaults to True.
        backend (str): ``auto``, ``torch`` or ``spikingjelly``. Defaults to ``auto``.

    Raises:
        ValueError: The threshold is not above V_reset, or the backend is unknown.
    """

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate: dict | Surrogate | None = None,
        detach_reset: bool = True,
        backend: str = 'auto',
    ) -> None:
        super().__init__()
        if v_reset is not None:
            check_number('neuron.v_reset', v_reset)
        check_number('neuron.v_threshold', v_threshold, above=v_reset or 0.0)
        if surrogate is None:
            surrogate = dict(type='SigmoidSurrogate', alpha=4.0)
        if isinstance(surrogate, dict):
            surrogate = MODELS.build(surrogate)
        self.v_threshold = float(v_threshold)
        self.v_reset = None if v_reset is None else float(v_reset)
        self.surrogate = surrogate
        self.detach_reset = check_bool('neuron.detach_reset', detach_reset)
        get_backend(backend)
        self.backend = backend

    @abstractmethod
    def leak(self) -> Leak:
        """How the membrane leaks, as :func:`~mmqkformer.neurons.dynamics.charge` takes it."""

    @abstractmethod
    def to_spikingjelly(self) -> nn.Module:
        """Returns SpikingJelly's multi-step node with the same parameters (shared, if learnt)."""

    def forward(self, x: Tensor) -> Tensor:
        """Runs the layer over all T steps.

        Args:
            x (Tensor): Input currents, ``[T, ...]``.

        Returns:
            Tensor: Spikes, 0 or 1, of the shape and type of ``x``.
        """
        wide = x if x.dtype == torch.float64 else x.float()
        return get_backend(self.backend)(self, wide).to(x.dtype)

    def _spikingjelly_arguments(self) -> dict:
        return dict(
            v_threshold=self.v_threshold,
            v_reset=self.v_reset,
            surrogate_function=self.surrogate.to_spikingjelly(),
            detach_reset=self.detach_reset,
            step_mode='m',
        )

    def extra_repr(self) -> str:
        return (
            f'v_threshold={self.v_threshold:g}, v_reset={self.v_reset}, '
            f'surrogate={self.surrogate}, backend={self.backend!r}'
        )


def _check_tau(name: str, tau: float) -> float:
    return float(check_number(f'neuron.{name}', tau, above=1))


@MODELS.register_module()
class LIFNeuron(SpikingNeuron):
    """Leaky integrate-and-fire (paper, Eq. 1 to 3): the input decays with the membrane.

    Args:
        tau (float): Membrane time constant in time steps. Defaults to 2.0.
        **kwargs: Arguments of :class:`SpikingNeuron`.
    """

    def __init__(self, tau: float = 2.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.tau = _check_tau('tau', tau)

    def leak(self) -> float:
        """The constant tau."""
        return self.tau

    def to_spikingjelly(self) -> nn.Module:
        """See the base class."""
        from spikingjelly.activation_based import neuron

        return neuron.LIFNode(tau=self.tau, decay_input=True, **self._spikingjelly_arguments())

    def extra_repr(self) -> str:
        return f'tau={self.tau:g}, {super().extra_repr()}'


@MODELS.register_module()
class IFNeuron(SpikingNeuron):
    """Integrate-and-fire without leak: ``H[t] = V[t-1] + X[t]`` (paper, Table 9)."""

    def leak(self) -> None:
        """No leak."""
        return None

    def to_spikingjelly(self) -> nn.Module:
        """See the base class."""
        from spikingjelly.activation_based import neuron

        return neuron.IFNode(**self._spikingjelly_arguments())


@MODELS.register_module()
class PLIFNeuron(SpikingNeuron):
    """LIF whose time constant is learnt, one per layer: ``1 / tau = sigmoid(w)`` (paper, Table 9).

    Args:
        init_tau (float): Time constant at the start of training, in steps. Defaults to 2.0.
        **kwargs: Arguments of :class:`SpikingNeuron`.
    """

    def __init__(self, init_tau: float = 2.0, **kwargs) -> None:
        super().__init__(**kwargs)
        init_tau = _check_tau('init_tau', init_tau)
        self.w = nn.Parameter(torch.tensor(-math.log(init_tau - 1.0)))

    def leak(self) -> Tensor:
        """The learnt 1 / tau, a 0-d tensor."""
        return self.w.sigmoid()

    def to_spikingjelly(self) -> nn.Module:
        """See the base class."""
        from spikingjelly.activation_based import neuron

        node = neuron.ParametricLIFNode(decay_input=True, **self._spikingjelly_arguments())
        node.w = self.w
        return node


def with_threshold(neuron: dict, v_threshold: float) -> dict:
    """The config with that threshold."""
    return {**neuron, 'v_threshold': v_threshold}


@MODELS.register_module()
class BatchLeakingNeuron(SpikingNeuron):
    """Temporary."""

    leak = to_spikingjelly = None

    def __init__(self, neuron: dict) -> None:
        super().__init__()
        self.neuron = MODELS.build(neuron)

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(x.flatten(0, 1)).unflatten(0, x.shape[:2])
