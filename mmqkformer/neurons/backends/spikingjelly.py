"""SpikingJelly 2.x: its own nodes, which live for one call, so that no state outlives it."""

import torch
from torch import Tensor, nn

from ..dynamics import Dynamics, IntegrateAndFireDynamics
from ..surrogate import ATanSurrogate, SigmoidSurrogate
from .registry import Backend, register_backend


@register_backend('spikingjelly')
class SpikingJellyBackend(Backend):
    """Integrate-and-fire with ``>=`` and a sigmoid or atan surrogate; currents ``[T, ...]``.

    SpikingJelly differentiates its nodes itself: there are no kernels to call.
    """

    # Another implementation to compare with, not a faster one
    automatic = False

    def supports(self, dynamics: Dynamics, x: Tensor | None = None) -> bool:
        """See the base class."""
        return (
            isinstance(dynamics, IntegrateAndFireDynamics)
            and not dynamics.strict
            and type(dynamics.surrogate) in (SigmoidSurrogate, ATanSurrogate)
        )

    def fire(self, dynamics: Dynamics, x: Tensor, w: Tensor | None = None) -> Tensor:
        """See the base class.

        Raises:
            ImportError: SpikingJelly is not installed.
        """
        try:
            node = _node(dynamics, w)
        except ImportError as error:
            raise ImportError(
                "neuron.backend='spikingjelly' needs SpikingJelly 2.x: pip install spikingjelly"
            ) from error
        # SpikingJelly computes in the type of V; under autocast ours must stay in that of x.
        with torch.autocast(x.device.type, enabled=False):
            return node(x)


def _node(dynamics: IntegrateAndFireDynamics, w: Tensor | None) -> nn.Module:
    from spikingjelly.activation_based import neuron, surrogate

    kind = {SigmoidSurrogate: surrogate.Sigmoid, ATanSurrogate: surrogate.ATan}
    args = dict(
        v_threshold=dynamics.v_threshold,
        v_reset=dynamics.v_reset,
        surrogate_function=kind[type(dynamics.surrogate)](alpha=dynamics.surrogate.alpha),
        detach_reset=dynamics.detach_reset,
        step_mode='m',
    )
    if w is not None:
        node = neuron.ParametricLIFNode(decay_input=True, **args)
        node.w = w
        return node
    if dynamics.tau is None:
        return neuron.IFNode(**args)
    return neuron.LIFNode(tau=dynamics.tau, decay_input=dynamics.decay_input, **args)
