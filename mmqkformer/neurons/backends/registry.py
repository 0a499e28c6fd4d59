"""What a backend is, and which one computes a call."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from ..dynamics import Dynamics
from .fire import fire

_BACKENDS: dict[str, 'Backend'] = {}


class Backend(ABC):
    """A way to compute what a frozen description of the dynamics says.

    It starts from ``V = V_reset`` in every call and agrees with the reference, the description's
    own kernels, in spikes and gradients. Those of this project are a :class:`KernelBackend`.

    Attributes:
        automatic (bool): Whether ``backend='auto'`` may choose it.
    """

    automatic: bool = True

    @abstractmethod
    def supports(self, dynamics: Dynamics, x: Tensor | None = None) -> bool:
        """Whether it computes these dynamics, on the device and of the type of ``x`` ``[T, ...]``.

        Without ``x``: on some device.
        """

    @abstractmethod
    def fire(self, dynamics: Dynamics, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Spikes ``[T, ...]``, differentiable.

        Args:
            dynamics (Dynamics): The description.
            x (Tensor): Currents, ``[T, ...]``, float32 or float64.
            w (Tensor | None): The learnt logit of 1 / tau, a 0-d tensor.
        """


class KernelBackend(Backend):
    """A backend of two pure kernels, which the neurons' one autograd function calls."""

    @abstractmethod
    def forward(
        self, dynamics: Dynamics, x: Tensor, rate: Tensor | None, save: bool
    ) -> tuple[Tensor, tuple]:
        """Spikes of ``x`` ``[T, ...]``, and the tensors that backward needs (none unless ``save``).

        Args:
            dynamics (Dynamics): The description.
            x (Tensor): Currents, ``[T, ...]``, float32 or float64.
            rate (Tensor | None): The learnt 1 / tau, a 0-d tensor.
            save (bool): Whether a backward pass will follow.
        """

    @abstractmethod
    def backward(
        self, dynamics: Dynamics, saved: tuple, grad_spikes: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Gradients of ``x`` ``[T, ...]`` and of ``rate`` (None without one)."""

    def fire(self, dynamics: Dynamics, x: Tensor, w: Tensor | None = None) -> Tensor:
        """See the base class."""
        return fire(self, dynamics, x, None if w is None else w.sigmoid())


def register_backend(name: str) -> Callable[[type[Backend]], type[Backend]]:
    """Registers a :class:`Backend`; ``auto`` takes the last registered that supports a call."""

    def add(backend: type[Backend]) -> type[Backend]:
        _BACKENDS[name] = backend()
        return backend

    return add


def choose_backend(name: str, dynamics: Dynamics, x: Tensor | None = None) -> Backend:
    """The backend that computes a call.

    Args:
        name (str): Its name, or ``auto``: the last registered that supports it; the reference
            supports everything.
        dynamics (Dynamics): The description.
        x (Tensor | None): The currents. Defaults to None: whether there is one at all.

    Raises:
        ValueError: The name is unknown, or its backend does not support this.
    """
    if name == 'auto':
        chosen = [b for b in _BACKENDS.values() if b.automatic and b.supports(dynamics, x)]
        return chosen[-1]
    if name not in _BACKENDS:
        known = ', '.join(repr(known) for known in ['auto', *sorted(_BACKENDS)])
        raise ValueError(f'backend={name!r} is unknown: expected one of {known}')
    if not _BACKENDS[name].supports(dynamics, x):
        where = '' if x is None else f' on {x.device.type} in {x.dtype}'
        raise ValueError(
            f"backend={name!r}: expected 'auto', as it does not compute {dynamics}{where}"
        )
    return _BACKENDS[name]
