"""Firing rates while a model trains, and a warning of layers that are silent or always fire."""

from contextlib import AbstractContextManager

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner.amp import autocast
from torch import nn

from ..checks import check_int, check_number
from ..engine.checkpoints import unwrap
from ..neurons import SpikingNeuron
from .rates import FiringRates, LayerRate, firing_rates


@HOOKS.register_module()
class FiringRateHook(Hook):
    """Logs the firing rate of every neuron, and warns of dead and of saturated layers.

    Rates are spikes per output (:class:`~mmqkformer.analysis.LayerRate`), logged as
    ``train/firing_rate/NEURON`` of the batch that an iteration has trained on, with the statistics
    of the batch, and as ``val/firing_rate/NEURON`` of the first batch of a validation, with the
    running ones (and of the weights that it measures first); ``network`` in place of a neuron's
    name is the mean over all outputs. Logged and judged are those of the main process.

    The batch passes the model once more for it, as the training (the validation) runs it and in its
    precision, but without gradients and outside of compiled graphs, which hooks of modules do not
    see; running statistics and random generators are put back. The training's own passes stay as
    they are, so that it computes what it would compute without the hook, to the last bit, whatever
    it is combined with: activation checkpointing, packed memory, accumulation, mixed precision,
    data parallelism (all processes run the pass, in which synchronised norms meet), compilation,
    fused kernels. The pass costs about two fifths of an iteration, once every ``interval``.

    Args:
        interval (int | None): Iterations between two measurements in training; None measures at
            validations only. Defaults to 100.
        dead (float): A layer is dead whose rate is at most this. Defaults to 0.0.
        saturated (float): A layer is saturated whose rate is at least this part of the most that
            its neuron emits. Defaults to 0.95.

    Raises:
        ValueError: A value is out of range; when training begins, if the model has no neuron.
    """

    # Before IterTimerHook: the pass counts as time of the iteration, not as waiting for data
    priority = 'ABOVE_NORMAL'

    def __init__(
        self, interval: int | None = 100, dead: float = 0.0, saturated: float = 0.95
    ) -> None:
        if interval is not None:
            check_int('FiringRateHook.interval', interval, 1)
        self.interval = interval
        self.dead = check_number('FiringRateHook.dead', dead, low=0, below=1)
        self.saturated = check_number('FiringRateHook.saturated', saturated, above=dead, high=1)
        self._due = False
        self._batch: dict | None = None
        # What is wrong with a layer, by phase and name, as it was last seen
        self._troubles: dict[str, dict[str, str | None]] = dict(train={}, val={})

    def before_train(self, runner: Runner) -> None:
        """Looks for neurons, and at what the model is given."""
        self._model = unwrap(runner.model)
        if not any(isinstance(module, SpikingNeuron) for module in self._model.modules()):
            raise ValueError(
                f'FiringRateHook: expected a model with spiking neurons, not '
                f'{type(self._model).__name__}'
            )
        self._handle = self._model.data_preprocessor.register_forward_hook(self._keep)

    def after_train(self, runner: Runner) -> None:
        """Leaves the model as it was."""
        self._handle.remove()

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None
    ) -> None:
        """Keeps the batch of every ``interval``-th iteration."""
        self._batch = None  # of an iteration that was broken off
        self._due = self.interval is not None and self.every_n_train_iters(runner, self.interval)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Measures it."""
        if self._batch is not None:
            rates = self._measure(runner.optim_wrapper.optim_context(self._model))
            self._log(runner, rates, 'train', runner.iter + 1)

    def before_val_epoch(self, runner: Runner) -> None:
        """Keeps the first batch: once, also where averaged weights are validated too."""
        self._due = True

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: list | None = None,
    ) -> None:
        """Measures it."""
        if self._batch is not None:
            rates = self._measure(autocast(enabled=runner.val_loop.fp16))
            by_iteration = isinstance(runner.train_loop, IterBasedTrainLoop)
            self._log(runner, rates, 'val', runner.iter if by_iteration else runner.epoch)

    @torch.compiler.disable
    def _keep(self, preprocessor: nn.Module, args: tuple, batch: dict) -> None:
        if self._due:
            self._batch, self._due = batch, False

    def _measure(self, precision: AbstractContextManager) -> FiringRates:
        batch, self._batch = self._batch, None
        with precision:
            return firing_rates(self._model, [batch], as_it_is=True)

    @master_only
    def _log(self, runner: Runner, rates: FiringRates, phase: str, step: int) -> None:
        scalars = {layer.name: layer.rate for layer in rates.layers} | {'network': rates.mean}
        runner.visualizer.add_scalars(
            {f'{phase}/firing_rate/{name}': rate for name, rate in scalars.items()},
            step=step,
            file_path=f'{runner.timestamp}.json',
        )
        found = {layer.name: self._trouble(layer) for layer in rates.layers}
        before, self._troubles[phase] = self._troubles[phase], found
        for trouble in ('dead', 'saturated'):
            new = [name for name, now in found.items() if now == trouble != before.get(name)]
            if new:
                runner.logger.warning(
                    f'Firing rates ({phase}, step {step}): {trouble}, {self._meaning(trouble)}:\n  '
                    + '\n  '.join(new)
                )

    def _trouble(self, layer: LayerRate) -> str | None:
        if layer.rate <= self.dead:
            return 'dead'
        return 'saturated' if layer.rate >= self.saturated * layer.levels else None

    def _meaning(self, trouble: str) -> str:
        if trouble == 'dead':
            return f'at most {self.dead:g} spikes per output' if self.dead else 'no spike at all'
        return f'at least {self.saturated:.0%} of the most spikes per output'
