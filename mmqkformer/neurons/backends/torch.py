"""The reference: the descriptions' own kernels, on every device that PyTorch has."""

from torch import Tensor

from ..dynamics import Dynamics
from .registry import KernelBackend, register_backend


@register_backend('torch')
class TorchBackend(KernelBackend):
    """Supports everything; currents and spikes ``[T, ...]``."""

    def supports(self, dynamics: Dynamics, x: Tensor | None = None) -> bool:
        """See the base class."""
        return True

    def forward(
        self, dynamics: Dynamics, x: Tensor, rate: Tensor | None, save: bool
    ) -> tuple[Tensor, tuple]:
        """See the base class."""
        return dynamics.forward(x, rate, save)

    def backward(
        self, dynamics: Dynamics, saved: tuple, grad_spikes: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """See the base class."""
        return dynamics.backward(saved, grad_spikes)
