"""What a backend is, and which one computes a call."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
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
        narrow (bool): Whether it reads and writes float16 and bfloat16, with a membrane in
            float32; to others such currents come in float32.
        needs (str): What it needs to run, for the error where it does not.
    """

    automatic: bool = True
    narrow: bool = False
    needs: str = 'dynamics, a device and a type that it knows'

    def pays(self, x: Tensor | None) -> bool:
        """Whether ``auto``, where it may, chooses it for a call on ``x`` ``[T, ...]``.

        Without ``x``: on some call.
        """
        return True

    @abstractmethod
    def supports(self, dynamics: Dynamics, x: Tensor | None = None) -> bool:
        """Whether it computes these dynamics, on the device and of the type of ``x`` ``[T, ...]``.

        Without ``x``: on some device.
        """

    @abstractmethod
    def fire(self, dynamics: Dynamics, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Spikes ``[T, ...]`` of the type of ``x``, differentiable.

        Args:
            dynamics (Dynamics): The description.
            x (Tensor): Currents, ``[T, ...]``, float32 or float64, or of a type that it reads.
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
            x (Tensor): Currents, ``[T, ...]``, float32 or float64, or of a type that it reads.
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
    """Registers a :class:`Backend`; ``auto`` takes the last one that supports a call and pays."""

    def add(backend: type[Backend]) -> type[Backend]:
        _BACKENDS[name] = backend()
        return backend

    return add


def choose_backend(
    name: str, dynamics: Dynamics, x: Tensor | None = None
) -> tuple[Backend, Tensor | None]:
    """The backend that computes a call, and the currents in a type that it reads.

    Args:
        name (str): Its name, or ``auto``: the last registered that supports it and pays; the
            reference supports everything.
        dynamics (Dynamics): The description.
        x (Tensor | None): The currents, ``[T, ...]``. Defaults to None: whether there is one at
            all.

    Raises:
        ValueError: The name is unknown, or its backend does not support this.
    """
    if name == 'auto':
        candidates = [b for b in reversed(_BACKENDS.values()) if b.automatic]
    elif name in _BACKENDS:
        candidates = [_BACKENDS[name]]
    else:
        known = ', '.join(repr(known) for known in ['auto', *sorted(_BACKENDS)])
        raise ValueError(f'backend={name!r} is unknown: expected one of {known}')
    for backend in candidates:
        if x is not None and x.dtype != torch.float64 and not backend.narrow:
            x = x.float()
        if backend.supports(dynamics, x) and (name != 'auto' or backend.pays(x)):
            return backend, x
    where = '' if x is None else f' on {x.device.type} in {x.dtype}'
    raise ValueError(
        f"backend={name!r}: expected 'auto', as it does not compute {dynamics}{where}; "
        f'it needs {candidates[0].needs}'
    )
