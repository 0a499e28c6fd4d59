"""Stateless integrate-and-fire neurons on ``[T, ...]``."""

import math
from collections.abc import Mapping

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..build import build_part, type_of
from ..checks import check_bool, check_number
from .base import DescribedNeuron, SpikingNeuron
from .dynamics import IntegrateAndFireDynamics
from .surrogate import Surrogate


class IntegrateAndFire(DescribedNeuron):
    """A neuron that charges, fires at a threshold and is reset: currents to spikes ``[T, ...]``.

    Args:
        tau (float | None): Membrane time constant in time steps; None does not leak.
        decay_input (bool): Whether the input decays with the membrane. Defaults to True.
        v_threshold (float): Firing threshold V_th. Defaults to 1.0.
        v_reset (float | None): Potential after a spike and at the start; None subtracts V_th after
            a spike and starts at 0. Defaults to 0.0.
        strict (bool): Whether a spike needs ``H > V_th`` instead of ``H >= V_th``. Defaults to
            False.
        surrogate (dict | Surrogate | None): Surrogate gradient. Defaults to None, which is
            ``dict(type='SigmoidSurrogate', alpha=4.0)``.
        detach_reset (bool): Whether the reset carries no gradient. Defaults to True.
        backend (str): ``auto``, ``torch``, ``cupy`` or ``spikingjelly``. Defaults to ``auto``.

    Raises:
        ValueError: A value is out of range, or the backend is unknown or does not support this.
    """

    def __init__(
        self,
        tau: float | None,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        strict: bool = False,
        surrogate: dict | Surrogate | None = None,
        detach_reset: bool = True,
        backend: str = 'auto',
    ) -> None:
        if v_reset is not None:
            check_number('v_reset', v_reset)
        check_number('v_threshold', v_threshold, above=v_reset or 0.0)
        if surrogate is None:
            surrogate = dict(type='SigmoidSurrogate', alpha=4.0)
        if not isinstance(surrogate, Surrogate):
            surrogate = build_part('surrogate', surrogate, Surrogate)
        dynamics = IntegrateAndFireDynamics(
            tau=None if tau is None else float(check_number('tau', tau, above=1)),
            decay_input=check_bool('decay_input', decay_input),
            v_threshold=float(v_threshold),
            v_reset=None if v_reset is None else float(v_reset),
            strict=check_bool('strict', strict),
            surrogate=surrogate,
            detach_reset=check_bool('detach_reset', detach_reset),
        )
        super().__init__(dynamics, backend)


@MODELS.register_module()
class LIFNeuron(IntegrateAndFire):
    """Leaky integrate-and-fire (paper, Eq. 1 to 3) on ``[T, ...]``.

    The input decays with the membrane; not so with ``decay_input=False`` (MS-ResNet, STSA):
    ``H[t] = V[t-1] - (V[t-1] - V_reset) / tau + X[t]``.

    Args:
        tau (float): Membrane time constant in time steps. Defaults to 2.0.
        **kwargs: Arguments of :class:`IntegrateAndFire`.
    """

    def __init__(self, tau: float = 2.0, **kwargs) -> None:
        # None, which is no leak, is no time constant of this neuron
        super().__init__(check_number('tau', tau, above=1), **kwargs)


@MODELS.register_module()
class IFNeuron(IntegrateAndFire):
    """Integrate-and-fire without leak on ``[T, ...]``: ``H[t] = V[t-1] + X[t]`` (paper, Table 9).

    Args:
        **kwargs: Arguments of :class:`IntegrateAndFire`.
    """

    # There is no leak that they could describe
    without = frozenset({'tau', 'decay_input'})

    def __init__(self, **kwargs) -> None:
        super().__init__(None, **kwargs)


@MODELS.register_module()
class PLIFNeuron(IntegrateAndFire):
    """LIF on ``[T, ...]`` with a learnt time constant: ``1 / tau = sigmoid(w)`` (paper, Table 9).

    Args:
        init_tau (float): Time constant at the start of training, in steps. Defaults to 2.0.
        **kwargs: Arguments of :class:`IntegrateAndFire`.
    """

    without = frozenset({'tau', 'decay_input'})

    def __init__(self, init_tau: float = 2.0, **kwargs) -> None:
        super().__init__(check_number('init_tau', init_tau, above=1), **kwargs)
        self.w = nn.Parameter(torch.tensor(-math.log(init_tau - 1.0)))

    def learnt(self) -> Tensor:
        """See the base class."""
        return self.w


@MODELS.register_module()
class BatchLeakingNeuron(SpikingNeuron):
    """Reproduces a flaw of QKFormer's release: the membrane runs over the flattened T*B axis.

    Of currents ``[T, B, ...]`` the neuron sees ``[T * B, ...]`` as so many steps, so that what it
    is left with leaks from one image of the batch into the next, and from the last into the first
    of the next step. Meant for ``out_neuron`` of a spiking self attention, where the release has
    it.

    Args:
        neuron (dict | SpikingNeuron | None): The neuron. Defaults to None,
            ``dict(type='LIFNeuron', tau=2.0)``.
    """

    def __init__(self, neuron: dict | SpikingNeuron | None = None) -> None:
        super().__init__()
        neuron = dict(type='LIFNeuron', tau=2.0) if neuron is None else neuron
        if not isinstance(neuron, SpikingNeuron):
            neuron = build_part('neuron', neuron, SpikingNeuron)
        self.neuron = neuron
        self.levels, self.unit = self.neuron.levels, self.neuron.unit

    def fire(self, x: Tensor) -> Tensor:
        """See the base class."""
        return self.neuron.fire(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Tensor], prefix: str, *args, **kwargs
    ) -> None:
        # Checkpoints from before this class hold the inner neuron's values in its place
        for name in self.neuron.state_dict():
            if prefix + name in state_dict:
                state_dict[f'{prefix}neuron.{name}'] = state_dict.pop(prefix + name)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def with_threshold(neuron: dict, v_threshold: float) -> dict:
    """A neuron's config with another threshold, or unchanged where it has none.

    Args:
        neuron (dict): The config.
        v_threshold (float): The threshold.
    """
    cls = type_of(neuron)
    has_one = isinstance(cls, type) and issubclass(cls, IntegrateAndFire)
    return {**neuron, 'v_threshold': v_threshold} if has_one else neuron
