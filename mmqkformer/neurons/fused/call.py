"""What the fused functions share: which kernels compute a call, and how they are launched."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from ...kernels import wide_type
from ..backends import choose_backend
from ..backends.cupy import CupyBackend, describe
from ..base import DescribedNeuron, SpikingNeuron
from ..dynamics import IntegrateAndFireDynamics


class Call:
    """Launches kernels for a neuron.

    Args:
        backend (CupyBackend): Whose launcher it is.
        dynamics (IntegrateAndFireDynamics): The description.
    """

    def __init__(self, backend: CupyBackend, dynamics: IntegrateAndFireDynamics) -> None:
        self.backend = backend
        self.dynamics = dynamics

    def launch(
        self,
        kernel: str,
        x: Tensor,
        work: int,
        rate: Tensor | None,
        *args: Tensor | float | None,
        together: int = 1,
        group: int = 1,
    ) -> None:
        """Runs a kernel on ``args`` and the description.

        Args:
            kernel (str): Its name.
            x (Tensor): What it is compiled for, ``[T, ...]``.
            work (int): Number of items that its threads share.
            rate (Tensor | None): The learnt 1 / tau, a 0-d tensor.
            *args (Tensor | float | None): Its arguments in front of the description.
            together (int): Number of neighbours that a thread takes at once. Defaults to 1.
            group (int): Threads that share an item. Defaults to 1.
        """
        described = describe(self.dynamics, x, rate)
        fixed = (f'-DGROUP={group}', *described.fixed) if group > 1 else described.fixed
        args = (*args, *described.arguments)
        launch = self.backend.launcher.launch
        launch(kernel, x, work * group, *args, together=together, fixed=fixed)

    def threads(self, work: int) -> int:
        """Number of threads that share the work."""
        return self.backend.launcher.threads(work)

    def group(self, items: int) -> int:
        """Threads that share so many accesses next to each other: a warp, where it is not idle."""
        return self.backend.launcher.warp if items > 1 else 1

    def sums(self, x: Tensor, work: int) -> Tensor:
        """Room for a number of each thread, in the type of the membrane."""
        return torch.empty(self.threads(work), dtype=wide_type(x.dtype), device=x.device)


def are_watched(*modules: nn.Module) -> bool:
    """Whether somebody wants to see what one of the modules is given or returns."""
    hooks = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')
    return _has_any_global_hook() or any(getattr(m, name) for m in modules for name in hooks)


def call_of(
    neuron: SpikingNeuron, *tensors: Tensor, instead_of: Sequence[nn.Module] = ()
) -> Call | None:
    """The kernels that compute a neuron on tensors ``[T, ...]``, of one type and device; or None.

    Args:
        neuron (SpikingNeuron): The neuron.
        *tensors (Tensor): The currents, and what else the kernels read.
        instead_of (Sequence[nn.Module]): What else they stand for; a module with hooks has to be
            called.
    """
    if torch.compiler.is_compiling() or not isinstance(neuron, DescribedNeuron):
        return None
    if not isinstance(neuron.dynamics, IntegrateAndFireDynamics):
        return None
    if are_watched(neuron, *instead_of):
        return None
    first = tensors[0]
    if neuron.backend == 'auto' and not first.is_cuda:
        # None of the kernels; to ask would count as another call
        return None
    alike = all((x.dtype, x.device) == (first.dtype, first.device) for x in tensors)
    if not alike or first.numel() == 0:
        return None
    backend, _ = choose_backend(neuron.backend, neuron.dynamics, first)
    return Call(backend, neuron.dynamics) if isinstance(backend, CupyBackend) else None


def rate_of(neuron: DescribedNeuron) -> Tensor | None:
    """The learnt 1 / tau, a 0-d tensor, where there is one."""
    w = neuron.learnt()
    return None if w is None else w.sigmoid()


def kept(*tensors: Tensor | None) -> tuple[Tensor, ...]:
    """Those that there are."""
    return tuple(x for x in tensors if x is not None)
