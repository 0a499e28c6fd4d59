"""Descriptions of what neurons compute, each with its two reference kernels in plain PyTorch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .surrogate import Surrogate


class Steps(list):
    """The steps of ``[T, ...]``, each a tensor, where a graph of a kernel is drawn.

    Assignments into one tensor would be as many passes over memory; of tensors that are stacked in
    the end, a compiler makes one.

    Args:
        steps (Iterable[Tensor | None]): T of them.
        dtype (torch.dtype): Type of what is assigned.
    """

    def __init__(self, steps: Iterable[Tensor | None], dtype: torch.dtype) -> None:
        super().__init__(steps)
        self.dtype = dtype

    def __setitem__(self, t: int, step: Tensor) -> None:
        super().__setitem__(t, step.to(self.dtype))


def _empty_like(x: Tensor | Steps, dtype: torch.dtype | None = None) -> Tensor | Steps:
    if isinstance(x, Steps):
        return Steps([None] * len(x), dtype or x.dtype)
    # In the memory format of x: the next convolution takes what the last one gave
    return torch.empty_like(x, dtype=dtype)


class Dynamics(Protocol):
    """A frozen description of a neuron, and the kernels that every backend has to equal.

    They take tensors ``[T, ...]``, and return such; or :class:`Steps` for each of them.
    """

    def step(self, x: Tensor, v: Tensor | None, rate: Tensor | None) -> tuple[Tensor, Tensor]:
        """Spikes of one step and the membrane that it leaves, of currents and the membrane before.

        All are of the shape of ``x``; None is the membrane at the start. As many calls as there are
        steps give the spikes of :meth:`forward` to the last bit.
        """

    def forward(self, x: Tensor, rate: Tensor | None, save: bool) -> tuple[Tensor, tuple]:
        """Spikes ``[T, ...]`` of currents ``[T, ...]``, and the tensors that backward needs."""

    def backward(self, saved: tuple, grad_spikes: Tensor) -> tuple[Tensor, Tensor | None]:
        """Gradients of the currents ``[T, ...]`` and of ``rate``."""


@dataclass(frozen=True)
class IntegrateAndFireDynamics:
    """Charge, fire and reset (paper, Eq. 1 to 3), from ``V = V_reset``.

    ``H[t] = V[t-1] + (X[t] - (V[t-1] - V_reset)) / tau``, or with ``decay_input=False``
    ``H[t] = V[t-1] - (V[t-1] - V_reset) / tau + X[t]``, or without leak ``H[t] = V[t-1] + X[t]``;
    ``S[t] = 1 if H[t] >= V_th else 0``; ``V[t] = V_reset`` where a spike was, else ``H[t]``. The
    order of the operations is SpikingJelly's, so that the two round alike and fire alike.

    Attributes:
        tau (float | None): Time constant in steps; None: no leak. Where ``rate``, a 0-d tensor,
            is given, it stands for a learnt ``1 / tau``.
        decay_input (bool): Whether the input decays with the membrane.
        v_threshold (float): Firing threshold V_th.
        v_reset (float | None): Potential after a spike; None subtracts V_th instead and starts
            at 0.
        strict (bool): Whether a spike needs ``H > V_th``.
        surrogate (Surrogate): Derivative of the spike.
        detach_reset (bool): Whether the reset carries no gradient.
    """

    tau: float | None
    decay_input: bool
    v_threshold: float
    v_reset: float | None
    strict: bool
    surrogate: Surrogate
    detach_reset: bool

    @property
    def v_rest(self) -> float:
        """Potential that the leak pulls to."""
        return self.v_reset or 0.0

    def _charge(self, x: Tensor, v: Tensor, rate: Tensor | None) -> Tensor:
        if rate is not None:
            return v + (x - (v - self.v_rest)) * rate
        if self.tau is None:
            return v + x
        if self.decay_input:
            return v + (x - (v - self.v_rest)) / self.tau
        return v - (v - self.v_rest) / self.tau + x

    def _fires(self, h: Tensor) -> Tensor:
        return h > self.v_threshold if self.strict else h >= self.v_threshold

    def _reset(self, h: Tensor, spike: Tensor) -> Tensor:
        if self.v_reset is None:
            return h - spike * self.v_threshold
        return spike * self.v_reset + (1.0 - spike) * h

    def step(self, x: Tensor, v: Tensor | None, rate: Tensor | None) -> tuple[Tensor, Tensor]:
        """See the protocol."""
        h = self._charge(x, torch.full_like(x, self.v_rest) if v is None else v, rate)
        spike = self._fires(h).to(x.dtype)
        return spike, self._reset(h, spike)

    def forward(self, x: Tensor, rate: Tensor | None, save: bool) -> tuple[Tensor, tuple]:
        """See the class; for the backward pass H is kept, and X where 1 / tau is learnt."""
        spikes = _empty_like(x)
        potentials = _empty_like(x) if save else None
        v = torch.full_like(x[0], self.v_rest)
        for t in range(len(x)):
            h = self._charge(x[t], v, rate)
            if save:
                potentials[t] = h
            spikes[t] = self._fires(h)
            v = self._reset(h, spikes[t])
        if not save:
            return spikes, ()
        return spikes, (potentials,) if rate is None else (potentials, x, rate)

    def backward(self, saved: tuple, grad_spikes: Tensor) -> tuple[Tensor, Tensor | None]:
        """Backpropagation through time, with the surrogate for the derivative of the spike."""
        h, *learnt = saved
        x, rate = learnt or (None, None if self.tau is None else 1.0 / self.tau)
        grad_x = _empty_like(h)
        grad_rate = torch.zeros_like(rate) if learnt else None
        grad_v = torch.zeros_like(h[0])
        for t in range(len(h) - 1, -1, -1):
            spike = self._fires(h[t]).to(h.dtype)
            slope = self.surrogate.derivative(h[t] - self.v_threshold)
            grad_h = grad_spikes[t] * slope
            if self.v_reset is None:
                grad_h += grad_v
                jump = -self.v_threshold
            else:
                grad_h += grad_v * (1.0 - spike)
                jump = self.v_reset - h[t]
            if not self.detach_reset:
                grad_h += grad_v * jump * slope
            decayed = grad_h if rate is None else grad_h * rate
            grad_x[t] = decayed if self.decay_input else grad_h
            grad_v = grad_h if rate is None else grad_h - decayed
            if learnt:
                grad_rate += (grad_h * (x[t] - (self._before(h, t) - self.v_rest))).sum()
        return grad_x, grad_rate

    def _before(self, h: Tensor, t: int) -> Tensor:
        """V[t-1], computed again from H."""
        if t == 0:
            return torch.full_like(h[0], self.v_rest)
        return self._reset(h[t - 1], self._fires(h[t - 1]).to(h.dtype))


@dataclass(frozen=True)
class IntegerDynamics:
    """A membrane that emits whole numbers of spikes and keeps what is left.

    ``H[t] = decay (H[t-1] - N[t-1]) + scale X[t]``, ``N[t] = round(clip(H[t], 0, levels))``,
    ``S[t] = N[t] / divisor``. The gradient of round and clip is 1 from 0 to ``levels`` and 0
    elsewhere; the reset carries none.

    Attributes:
        levels (int): Highest N.
        decay (float): What a step leaves of the membrane; 0: it has no memory.
        scale (float): Factor of the input.
        divisor (float): Value of N that is emitted as 1.
        half_up (bool): Whether halves are rounded up and the ends of the gradient's window are
            outside of it; else halves are rounded to even and the ends are inside.
    """

    levels: int
    decay: float
    scale: float
    divisor: float
    half_up: bool

    def _counts(self, h: Tensor) -> Tensor:
        clipped = h.clamp(0, self.levels)
        return (clipped + 0.5).floor() if self.half_up else clipped.round()

    def _window(self, h: Tensor) -> Tensor:
        if self.half_up:
            return (h > 0) & (h < self.levels)
        return (h >= 0) & (h <= self.levels)

    def step(self, x: Tensor, v: Tensor | None, rate: Tensor | None) -> tuple[Tensor, Tensor]:
        """See the protocol; the membrane is what is left of H."""
        h = self.decay * (torch.zeros_like(x) if v is None else v) + self.scale * x
        counts = self._counts(h)
        return counts / self.divisor, h - counts

    def forward(self, x: Tensor, rate: Tensor | None, save: bool) -> tuple[Tensor, tuple]:
        """See the class; for the backward pass the window is kept, one byte a neuron and step."""
        spikes = _empty_like(x)
        window = _empty_like(x, torch.bool) if save else None
        left = torch.zeros_like(x[0])
        for t in range(len(x)):
            h = self.decay * left + self.scale * x[t]
            counts = self._counts(h)
            if save:
                window[t] = self._window(h)
            spikes[t] = counts / self.divisor
            left = h - counts
        return spikes, (window,) if save else ()

    def backward(self, saved: tuple, grad_spikes: Tensor) -> tuple[Tensor, None]:
        """Backpropagation through time."""
        (window,) = saved
        grad_x = _empty_like(grad_spikes)
        grad_left = torch.zeros_like(grad_spikes[0])
        for t in range(len(grad_spikes) - 1, -1, -1):
            grad_h = grad_spikes[t] * window[t] / self.divisor + grad_left
            grad_x[t] = self.scale * grad_h
            grad_left = self.decay * grad_h
        return grad_x, None
