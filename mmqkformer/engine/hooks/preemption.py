"""A run that is asked to go saves what it has, and says that it may be started again."""

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import torch
from mmengine.dist import all_reduce, barrier, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from .atomic_checkpoint import AtomicCheckpointHook

EXIT_CODE = 75  # sysexits.h: a temporary failure, try again


class PreemptedError(SystemExit):
    """The run was asked to go and has saved; the process ends with code 75."""

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On SIGTERM or SIGUSR1: ends the optimizer step, saves a checkpoint, exits with code 75.

    A signal to any of several processes stops them all behind the same step, on which they agree
    at the end of each. In a validation the run goes at once where the epoch is saved; else it
    ends the validation first, since its weights may be exchanged for their average meanwhile.
    ``--resume`` goes on exactly there. Needs ``default_hooks.checkpoint.type=
    'AtomicCheckpointHook'``.

    Workers of the data loaders leave the process group: a signal to the whole group, as Slurm
    sends it, would end them and the step with them.
    """

    # Behind the hooks that change what is saved
    priority = 'LOWEST'
    SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def before_train(self, runner: Runner) -> None:
        """Listens for the signals.

        Raises:
            ValueError: The run has no ``AtomicCheckpointHook``, or repeats epochs on resuming.
        """
        hooks = [hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook)]
        if not hooks:
            raise ValueError(
                "default_hooks.checkpoint.type: expected 'AtomicCheckpointHook', which "
                'PreemptionHook saves with'
            )
        self._checkpoints = hooks[0]
        loop = runner.train_loop
        if isinstance(loop, EpochBasedTrainLoop) and not hasattr(loop, 'resumes_inside_epochs'):
            raise ValueError(
                f'train_cfg.type={type(loop).__name__!r}: PreemptionHook saves in the middle of '
                "epochs: expected 'ResumableTrainLoop'"
            )
        if threading.current_thread() is not threading.main_thread():
            runner.logger.warning('a run outside of the main thread cannot listen for signals')
            return
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, self._receive)
        loops = [loop for loop in (runner.train_loop, runner.val_loop) if loop is not None]
        for loader in (loop.dataloader for loop in loops):
            loader.worker_init_fn = functools.partial(_in_own_group, loader.worker_init_fn)
        for process in multiprocessing.active_children():  # of loops that begin early
            with suppress(OSError):
                os.setpgid(process.pid, process.pid)

    def _receive(self, number: int, frame: object) -> None:
        self._received = signal.Signals(number)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Saves and leaves, if this ends an optimizer step and some process was asked to.

        Raises:
            PreemptedError: It was.
        """
        if runner.optim_wrapper.should_update() and self._is_asked():
            self._checkpoints.save_interim(runner)
            barrier()  # a launcher may kill the others when the first process ends
            self._leave(runner)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: list | None = None,
    ) -> None:
        """Leaves, if this process was asked to and the state is saved.

        Raises:
            PreemptedError: It was.
        """
        # Each by itself: processes may validate different numbers of batches
        if self._received is not None and self._checkpoints.saved_at == runner.iter:
            self._leave(runner)

    def after_train(self, runner: Runner) -> None:
        """Listens no longer."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _is_asked(self) -> bool:
        asked = self._received is not None
        if get_world_size() == 1:
            return asked
        processes = torch.tensor(int(asked))
        all_reduce(processes)
        return processes.item() > 0

    def _leave(self, runner: Runner) -> None:
        reason = self._received.name if self._received else 'a signal to another process'
        runner.logger.warning(
            f'{reason}: saved {self._checkpoints.last_ckpt}; --resume goes on from there'
        )
        raise PreemptedError


def _in_own_group(given: Callable[[int], None] | None, worker: int) -> None:
    os.setpgid(0, 0)
    if given is not None:
        given(worker)
