"""Classifiers that run one time step after another, each neuron going on from its membrane."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..layers.attention import AttentionMap
from ..neurons import BatchLeakingNeuron
from ..neurons.base import DescribedNeuron
from ..neurons.dynamics import Dynamics


def reads_ahead(model: nn.Module) -> str | None:
    """The name of an attention through which earlier steps depend on later ones, if there is one.

    Without one, the first t steps of a network are those of a run of t steps.
    """
    for name, module in model.named_modules():
        if isinstance(module, AttentionMap) and module.over == 'space_time':
            return name.rpartition('.')[0]
    return None


def check_stepwise(model: nn.Module) -> None:
    """Refuses what does not run step by step.

    Args:
        model (nn.Module): The model.

    Raises:
        ValueError: It is no classifier with a :class:`~mmqkformer.models.SpikingClsHead` right
            behind the backbone, it has one time step, an earlier step depends on later ones, or a
            sample on others.
    """
    head = type(getattr(model, 'head', None)).__name__
    if not hasattr(getattr(model, 'head', None), 'forward_steps'):
        raise ValueError(f'head={head}: expected a SpikingClsHead, which classifies every step')
    if getattr(model, 'neck', None) is not None:
        raise ValueError(f'neck={type(model.neck).__name__}: expected none')
    if model.backbone.time_steps == 1:
        raise ValueError('backbone.time_steps=1: expected more than one')
    if name := reads_ahead(model):
        raise ValueError(
            f'{name}: the attention takes the tokens of all steps at once, later ones included; '
            f'expected a network in which a step depends on earlier ones only'
        )
    for name, module in model.named_modules():
        if isinstance(module, BatchLeakingNeuron):
            raise ValueError(
                f'{name}: its membrane runs from sample to sample; expected '
                f'release_batch_leak=False'
            )


def takes_events(inputs: Tensor) -> bool:
    """Whether a batch is of frames ``[B, T, C, H, W]``, not of images ``[B, C, H, W]``."""
    return inputs.dim() == 5


@contextmanager
def running_for(model: nn.Module, time_steps: int) -> Iterator[None]:
    """Changes the steps that a classifier runs."""
    before = model.backbone.time_steps
    model.backbone.time_steps = time_steps
    try:
        yield
    finally:
        model.backbone.time_steps = before


@contextmanager
def _handing_on_steps(model: nn.Module) -> Iterator[None]:
    """Lets the backbone hand on spikes where it gives their means over time."""
    before = model.backbone.out
    if before == 'rates':
        model.backbone.out = 'spikes'
    try:
        yield
    finally:
        model.backbone.out = before


def _step_logits(model: nn.Module, inputs: Tensor) -> Tensor:
    """Logits of every step by itself, ``[T, B, classes]``."""
    return model.head.forward_steps(model.extract_feat(inputs))


@torch.no_grad()
def logits_over_time(model: nn.Module, inputs: Tensor) -> Tensor:
    """What a classifier says after each of its time steps.

    It is what the model gives when it runs for 1, 2, ..., T steps: for each the mean of the logits
    so far. One run gives all of them; where :func:`reads_ahead`, there is a run for each.

    Args:
        model (nn.Module): Classifier with a :class:`~mmqkformer.models.SpikingClsHead`, in eval
            mode.
        inputs (Tensor): Images ``[B, C, H, W]``, or frames ``[B, T, C, H, W]``, of which t steps
            see the first t.

    Returns:
        Tensor: Logits ``[T, B, classes]``; the last are the model's own.

    Raises:
        ValueError: The head does not classify every step.
    """
    time_steps = model.backbone.time_steps
    if reads_ahead(model):
        runs = []
        for t in range(1, time_steps + 1):
            with running_for(model, t):
                runs.append(model(inputs[:, :t] if takes_events(inputs) else inputs))
        return torch.stack(runs)
    if not hasattr(model.head, 'forward_steps'):
        check_stepwise(model)
    with _handing_on_steps(model):
        logits = _step_logits(model, inputs).cumsum(0)
    return logits / _counts(time_steps, logits)


def _counts(time_steps: int, like: Tensor) -> Tensor:
    return torch.arange(1, time_steps + 1, device=like.device).to(like.dtype).view(-1, 1, 1)


class _Carried:
    """Dynamics whose membrane stays from call to call."""

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics
        self.membrane: Tensor | None = None

    def forward(self, x: Tensor, rate: Tensor | None, save: bool) -> tuple[Tensor, tuple]:
        spikes = torch.empty_like(x)
        for t in range(len(x)):
            spikes[t], self.membrane = self.dynamics.step(x[t], self.membrane, rate)
        return spikes, ()


class StepwiseRun:
    """A batch on its way through a classifier; see :func:`run_stepwise`.

    Attributes:
        steps (int): Steps that have run.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, neurons: list[_Carried]) -> None:
        self.steps = 0
        self._model, self._inputs, self._neurons = model, inputs, neurons
        self._sum: Tensor | float = 0.0

    def step(self) -> Tensor:
        """Runs the next step: the mean of the logits so far, ``[B, classes]``."""
        inputs, t = self._inputs, self.steps
        inputs = inputs[:, t : t + 1] if takes_events(inputs) else inputs
        self._sum = self._sum + _step_logits(self._model, inputs)[0]
        self.steps += 1
        return self._sum / self.steps

    def keep(self, samples: Tensor) -> None:
        """Goes on with these samples only, ``[B]`` of bool or indices."""
        self._inputs, self._sum = self._inputs[samples], self._sum[samples]
        for neuron in self._neurons:
            if neuron.membrane is not None:
                neuron.membrane = neuron.membrane[samples]


@contextmanager
def run_stepwise(model: nn.Module, inputs: Tensor) -> Iterator[StepwiseRun]:
    """Runs a classifier step by step, as long as it is asked to, for as many samples as are left.

    Neurons are stateless in a call; here each goes on from the membrane that its last call left,
    which the reference kernels compute. In float64 all spikes are those of a run of all steps. What
    stands in front of the first neuron, which a run of several steps computes once for an image,
    is computed in every step.

    Args:
        model (nn.Module): Classifier in eval mode; as it was at the end of the context.
        inputs (Tensor): Images ``[B, C, H, W]`` or frames ``[B, T, C, H, W]``.

    Yields:
        StepwiseRun: The run, in front of its first step.

    Raises:
        ValueError: See :func:`check_stepwise`.
    """
    check_stepwise(model)
    neurons = [m for m in model.modules() if isinstance(m, DescribedNeuron)]
    before = [(neuron.dynamics, neuron.backend) for neuron in neurons]
    carried = [_Carried(neuron.dynamics) for neuron in neurons]
    try:
        for neuron, dynamics in zip(neurons, carried, strict=True):
            neuron.dynamics, neuron.backend = dynamics, 'torch'
        with torch.no_grad(), running_for(model, 1), _handing_on_steps(model):
            yield StepwiseRun(model, inputs, carried)
    finally:
        for neuron, (dynamics, backend) in zip(neurons, before, strict=True):
            neuron.dynamics, neuron.backend = dynamics, backend
