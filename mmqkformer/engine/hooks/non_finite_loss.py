"""Stops a run whose loss, weights, statistics or inputs are not numbers any more."""

import math
from collections.abc import Iterable

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor
from torch.nn.utils import get_total_norm

from ..checkpoints import unwrap
from ..replay import (
    floating,
    inputs_of,
    is_finite,
    name_samples,
    replay,
    running_statistics,
)


class NonFiniteLossError(ArithmeticError):
    """A loss term, weight, running statistic, gradient or input is infinite or not a number."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stops the run in the iteration that stops being finite, before anything of it is saved.

    A spiking network hides it from the loss: the comparison of a membrane that is not a number with
    the threshold is false, and the spike 0. So weights, running statistics and inputs are looked at
    as well, and gradients while micro-steps accumulate. A step that a gradient scaler skips leaves
    the weights as they were and stops nothing.

    One number, the norm of all this, is made on the device and read where mmengine reads the losses
    for its log, so that the check costs no further synchronisation. All processes stop together.
    Then the batch is replayed (:func:`~mmqkformer.engine.replay.replay`) to name layer and samples.
    The last checkpoint stays.
    """

    # Before the losses are read for the log, before the average and the checkpoint
    priority = 'HIGHEST'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Checks this iteration.

        Raises:
            NonFiniteLossError: Something is not finite; the message names it.
        """
        watched = _watched(runner, outputs or {})
        values = [value for _, named in watched for _, value in named]
        if not _may_not_be_finite([*values, *floating(inputs_of(data_batch))]):
            return
        # A norm overflows above 1e19, and what is finite goes on
        found = _describe(watched, data_batch)
        if not _in_any_process(torch.tensor(float(bool(found)))):
            return
        gradients = next(named for kind, named in watched if kind == 'gradients')
        replayed = _replayed(runner, data_batch, backward=bool(gradients))
        raise NonFiniteLossError(_message(runner, found, replayed))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Checks the weights and the optimizer's state.

        Raises:
            NonFiniteLossError: One is not finite; the message names it.
        """
        for name, value in checkpoint['state_dict'].items():
            if not is_finite(value):
                raise NonFiniteLossError(_message(runner, f'{name} is not finite'))
        if not is_finite(checkpoint.get('optimizer')):
            raise NonFiniteLossError(_message(runner, "the optimizer's state is not finite"))


def _watched(runner: Runner, outputs: dict) -> list[tuple[str, list[tuple[str, Tensor]]]]:
    """Named tensors by kind, weights first: the device of the check is theirs."""
    model = unwrap(runner.model)
    losses = [
        (name, torch.as_tensor(value).detach())
        for name, value in outputs.items()
        if 'loss' in name and isinstance(value, (float, Tensor))
    ]
    gradients = []
    scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
    if scaler is None or not scaler.is_enabled():  # else it skips the step
        # Those of an accumulation group; behind a step there are none
        gradients = [(n, p.grad) for n, p in model.named_parameters() if p.grad is not None]
    return [
        ('weights', list(model.named_parameters())),
        ('running statistics', list(running_statistics(model))),
        ('gradients', gradients),
        ('losses', losses),
    ]


def _may_not_be_finite(values: Iterable[Tensor]) -> bool:
    """Whether a norm of the values is not finite here or in another process; one read."""
    values = list(floating(values))
    if not values:
        return _in_any_process(torch.tensor(0.0))
    device = values[0].device
    there = [value for value in values if value.device == device]
    flag = get_total_norm(there).isfinite().logical_not().to(torch.float32)
    # Inputs of a run on an accelerator are in main memory, and read without waiting for it
    elsewhere = [value for value in values if value.device != device]
    if elsewhere and not math.isfinite(get_total_norm(elsewhere)):
        flag.fill_(1.0)
    return _in_any_process(flag)


def _in_any_process(flag: Tensor) -> bool:
    all_reduce(flag, 'max')
    return flag.item() > 0


def _describe(
    watched: list[tuple[str, list[tuple[str, Tensor]]]], data_batch: dict | tuple | list | None
) -> str:
    """What of it is not finite in this process, or ''."""
    parts = []
    for kind, named in watched:
        bad = [(name, value) for name, value in named if not is_finite(value)]
        if bad and kind == 'losses':
            parts.insert(0, ', '.join(f'{name}={float(value)}' for name, value in bad))
        elif len(bad) == 1:
            parts.append(f'{kind}: {bad[0][0]}')
        elif bad:
            parts.append(f'{kind}: {len(bad)} of {len(named)}, {bad[0][0]} to {bad[-1][0]}')
    inputs = [i for i, sample in enumerate(inputs_of(data_batch)) if not is_finite(sample)]
    if inputs:
        parts.append(f'inputs: {name_samples(data_batch, inputs)}')
    return '; '.join(parts)


def _replayed(runner: Runner, data_batch: dict | tuple | list | None, backward: bool) -> str:
    try:
        return f'The batch replayed: {replay(runner, data_batch, backward)}'
    except Exception as error:
        return f'The batch could not be replayed: {error!r}'


def _message(runner: Runner, found: str, replayed: str = '') -> str:
    """The same in every process where there is something to gather, which is the replay."""
    findings = [(found, replayed)]
    if replayed and get_world_size() > 1:
        gathered = all_gather_object((found, replayed))
        findings = [
            (f'process {rank}: {found}', f'Process {rank}: {replayed}')
            for rank, (found, replayed) in enumerate(gathered)
            if found
        ]
    what = '; '.join(found for found, _ in findings)
    where = ''.join(f'. {replayed}' for _, replayed in findings if replayed)
    return (
        f'iteration {runner.iter + 1} (epoch {runner.epoch + 1}): {what}; the run stops and its '
        f'last checkpoint stays in {runner.work_dir}{where}'
    )
