"""Stops a run whose loss or weights are not numbers any more."""

import math

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


class NonFiniteLossError(ArithmeticError):
    """A loss term or a weight became infinite or not a number."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stops the run at the first non-finite loss term, before anything of it is saved.

    The last checkpoint stays. All processes stop together: a term that only one of them sees has
    reached the weights of all, and the main one would save them. mmengine reads every loss term for
    its log at each iteration, so that the check costs no further synchronisation of the device.
    A finite loss whose gradients overflowed spoils the weights one iteration before a loss tells:
    a checkpoint of such weights is not written.
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
        losses = {
            name: float(torch.as_tensor(value).detach())
            for name, value in (outputs or {}).items()
            if 'loss' in name and isinstance(value, (float, torch.Tensor))
        }
        bad = [f'{name}={value}' for name, value in losses.items() if not math.isfinite(value)]
        processes = torch.tensor(min(len(bad), 1))
        all_reduce(processes)
        if processes > 0:
            terms = ', '.join(bad) or 'a non-finite loss in another process'
            raise NonFiniteLossError(
                f'iteration {runner.iter + 1} (epoch {runner.epoch + 1}): {terms}; the run stops '
                f'and its last checkpoint stays in {runner.work_dir}'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Checks the weights.

        Raises:
            NonFiniteLossError: One is not finite; the message names it.
        """
        for name, value in checkpoint['state_dict'].items():
            if not value.isfinite().all():
                raise NonFiniteLossError(
                    f'iteration {runner.iter + 1} (epoch {runner.epoch + 1}): {name} is not '
                    f'finite; the run stops and its last checkpoint stays in {runner.work_dir}'
                )
