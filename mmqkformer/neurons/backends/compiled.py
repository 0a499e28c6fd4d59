"""The reference kernels through PyTorch's compiler: C++ on CPUs, Triton on cards that it knows."""

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from torch import Tensor

from ...kernels import by_step, same_steps, wide_type
from ..dynamics import Dynamics, Steps
from .registry import KernelBackend, register_backend

# By device: elements of a call from which a compiled kernel is faster, and elements that a process
# has to have computed before, so that those to come repay the start of the compiler, which takes
# some ten seconds (tools/benchmark/neuron.py). Where nothing was measured, `auto` does without.
PAYS_FROM = {'cpu': (2**14, 2**32)}


@register_backend('compiled')
class CompiledBackend(KernelBackend):
    """The kernels of the descriptions, each compiled to one pass over memory; ``[T, ...]``.

    A kernel is compiled for its dynamics, T, type and device when it is first called, for every
    size; PyTorch keeps it on the disk. Spikes are the reference's to the last bit, which is why
    ``auto`` changes to it in a running process; gradients may be computed by other vector
    functions, so that training asks for it by name. A step that is one block of memory, such as
    channels last, is read where it lies, and float16 and bfloat16 are read and written as they are.
    Without a C++ compiler there is one warning, and the reference computes. Graphs that are being
    compiled or exported take the reference in.
    """

    narrow = True

    def __init__(self) -> None:
        self._kernels: dict[tuple, Callable] = {}
        self._seen = 0
        self._works = True

    def supports(self, dynamics: Dynamics, x: Tensor | None = None) -> bool:
        """See the base class."""
        return True

    def pays(self, x: Tensor | None) -> bool:
        """See the base class."""
        if x is None or x.requires_grad or x.device.type not in PAYS_FROM or not self._works:
            return False
        of_call, of_process = PAYS_FROM[x.device.type]
        if torch.compiler.is_compiling() or x.numel() < of_call:
            return False
        self._seen += x.numel()
        return self._seen > of_process

    def forward(
        self, dynamics: Dynamics, x: Tensor, rate: Tensor | None, save: bool
    ) -> tuple[Tensor, tuple]:
        """See the base class."""
        wide = wide_type(x.dtype)
        if not self._runs_on(x):
            spikes, saved = dynamics.forward(x.to(wide), rate, save)
            return spikes.to(x.dtype), saved
        x = by_step(x)
        given = [_flat(x), *([] if rate is None else [rate])]

        def kernel(x: Tensor, *rate: Tensor) -> list[Tensor]:
            spikes, saved = dynamics.forward(_steps(x.to(wide)), *(rate or [None]), save)
            return [_stacked(spikes, x.dtype), *map(_stacked, saved)]

        spikes, *saved = self._run(('forward', dynamics, save), kernel, given)
        return _as_steps_of(x, spikes), tuple(_as_steps_of(x, tensor) for tensor in saved)

    def backward(
        self, dynamics: Dynamics, saved: tuple, grad_spikes: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """See the base class."""
        x = saved[0]
        narrow, wide = grad_spikes.dtype, wide_type(grad_spikes.dtype)
        if not self._runs_on(x):
            grad_x, grad_rate = dynamics.backward(saved, grad_spikes.to(wide))
            return grad_x.to(narrow), grad_rate

        def kernel(grad_spikes: Tensor, *saved: Tensor) -> list[Tensor]:
            steps = _steps(grad_spikes.to(wide))
            grad_x, grad_rate = dynamics.backward(tuple(map(_steps, saved)), steps)
            return [_stacked(grad_x, narrow), *([] if grad_rate is None else [grad_rate])]

        given = [_flat(same_steps(grad_spikes, x)), *map(_flat, saved)]
        grad_x, *grad_rate = self._run(('backward', dynamics), kernel, given)
        return _as_steps_of(x, grad_x), (grad_rate or [None])[0]

    def _runs_on(self, x: Tensor) -> bool:
        # Neither what is empty nor a graph of somebody else's
        return self._works and x.numel() > 0 and not torch.compiler.is_compiling()

    def _run(self, key: tuple, kernel: Callable, given: list[Tensor]) -> tuple[Tensor, ...]:
        x = given[0]
        key = (*key, x.size(0), x.dtype, x.device, len(given), torch.is_inference_mode_enabled())
        # Types are the kernels' own, whatever autocast would make of a stack of steps
        with torch.autocast(x.device.type, enabled=False):
            compiled = self._kernels.get(key)
            if compiled is None:
                with _telling('the neurons are being compiled', told=bool(self._kernels)):
                    compiled = self._compiled(key, kernel, given)
            return compiled(*given)

    def _compiled(self, key: tuple, kernel: Callable, given: list[Tensor]) -> Callable:
        from torch._dynamo.exc import TorchDynamoException
        from torch.fx.experimental.proxy_tensor import make_fx

        # A graph of its own for each kernel, in which the description's numbers are constants
        graph = make_fx(kernel)(*(tensor[:, :8] if tensor.dim() else tensor for tensor in given))
        compiled = torch.compile(graph, dynamic=True, fullgraph=True)
        try:
            compiled(*given)
        except TorchDynamoException as error:
            warnings.warn(
                f"backend='compiled' does without PyTorch's compiler, which does not work here: "
                f'{str(error).strip().splitlines()[0]}',
                stacklevel=2,
            )
            self._works, compiled = False, kernel
        self._kernels[key] = compiled
        return compiled


@contextmanager
def _telling(what: str, told: bool, every: float = 4.0) -> Iterator[None]:
    """Logs at once, unless it has been told, and as long as it lasts every so many seconds."""
    if not told:
        print_log(f'{what}, the first kernel takes longest', 'current')
    start, over = time.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(every):
            print_log(f'{what}: {time.monotonic() - start:.0f} s so far', 'current')

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _steps(x: Tensor) -> Tensor | Steps:
    return Steps(x.unbind(0), x.dtype) if x.dim() else x


def _stacked(x: Tensor | Steps, dtype: torch.dtype | None = None) -> Tensor:
    if not isinstance(x, Steps):
        return x
    # Each by itself: a pass over memory fewer than of all
    return torch.stack([step.to(dtype or step.dtype) for step in x])


def _flat(x: Tensor) -> Tensor:
    """``[T, ...]`` whose steps are blocks of memory as ``[T, N]``, without a copy; 0-d as it is."""
    if not x.dim():
        return x
    # No view: for one, the compiled kernel would have to know the shape of what it is a view of
    memory = x.untyped_storage(), x.storage_offset()
    return x.new_empty(0).set_(*memory, (x.size(0), x[0].numel()), (x.stride(0), 1))


def _as_steps_of(x: Tensor, flat: Tensor) -> Tensor:
    """``[T, N]`` in the shape and layout of the steps of ``x`` ``[T, ...]``; 0-d as it is."""
    if not flat.dim():
        return flat
    return flat.as_strided(x.shape, (flat.stride(0), *x.stride()[1:]), flat.storage_offset())
