"""Stops a run whose loss is not a number any more."""

import math

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


class NonFiniteLossError(ArithmeticError):
    """A loss term became infinite or not a number."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stops the run at the first non-finite loss term, before anything of it is saved.

    The last checkpoint stays. mmengine reads every loss term for its log at each iteration, so
    that the check costs no further synchronisation of the device.
    """

    # Before the checkpoint, the average and the logs
    priority = 'VERY_HIGH'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Checks the loss terms of this iteration.

        Raises:
            NonFiniteLossError: One is not finite; the message names it.
        """
        bad = {
            name: float(value)
            for name, value in (outputs or {}).items()
            if 'loss' in name
            and isinstance(value, (float, torch.Tensor))
            and not math.isfinite(float(value))
        }
        if bad:
            terms = ', '.join(f'{name}={value}' for name, value in bad.items())
            raise NonFiniteLossError(
                f'iteration {runner.iter + 1} (epoch {runner.epoch + 1}): {terms}; the run stops '
                f'and its last checkpoint stays in {runner.work_dir}'
            )
