"""A price on spikes, for those who train for energy."""

from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from ...checks import check_number
from ...neurons import SpikingNeuron


@HOOKS.register_module()
class FiringRatePenaltyHook(Hook):
    """Adds ``loss_firing_rate = weight * max(rate - target, 0)`` to the losses of any model.

    The rate is that of the micro-batch: spikes emitted by all neurons of the network over its
    samples and steps, divided by the number of their outputs. A graded neuron's output of k units
    is k spikes. The gradient reaches the membranes through the surrogates, as any other loss's;
    accumulation, mixed precision, activation checkpointing and data parallelism treat it alike.
    Logs have the term, and ``firing_rate``.

    Args:
        weight (float): Weight of the term, positive.
        target (float): Spikes per output that cost nothing. Defaults to 0.0.

    Raises:
        ValueError: A value is out of range; when training begins, if the model has no neuron.
    """

    def __init__(self, weight: float, target: float = 0.0) -> None:
        self.weight = check_number('FiringRatePenaltyHook.weight', weight, above=0)
        self.target = check_number('FiringRatePenaltyHook.target', target, low=0)
        # Spikes and outputs of each call of a neuron; None while nobody asks, as in the
        # recomputation of a checkpointed stage
        self._calls: list[tuple[Tensor, int]] | None = None

    def before_train(self, runner: Runner) -> None:
        """Listens to the neurons, and adds the term where the model sums up its losses."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        neurons = [module for module in model.modules() if isinstance(module, SpikingNeuron)]
        if not neurons:
            raise ValueError(
                f'FiringRatePenaltyHook: expected a model with spiking neurons, not '
                f'{type(model).__name__}'
            )
        self._handles = [neuron.register_forward_hook(self._count) for neuron in neurons]
        self._handles.append(model.register_forward_pre_hook(self._begin, with_kwargs=True))
        parse = model.parse_losses

        def parse_losses(losses: Mapping) -> tuple:
            rate = self._rate()
            excess = (rate - self.target).clamp(min=0)
            return parse({**losses, 'loss_firing_rate': self.weight * excess, 'firing_rate': rate})

        model.parse_losses = parse_losses
        self._model = model

    def after_train(self, runner: Runner) -> None:
        """Leaves the model as it was."""
        for handle in self._handles:
            handle.remove()
        del self._model.parse_losses

    def _begin(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        mode = kwargs.get('mode', args[-1] if args else None)
        self._calls = [] if mode == 'loss' else None

    def _count(self, neuron: SpikingNeuron, args: tuple, spikes: Tensor) -> None:
        if self._calls is not None:
            self._calls.append((spikes.float().sum() / neuron.unit, spikes.numel()))

    def _rate(self) -> Tensor:
        calls, self._calls = self._calls, None
        return sum(count for count, _ in calls) / sum(outputs for _, outputs in calls)
