"""Training by epochs that goes on exactly where it stopped, and back where it went wrong."""

from collections.abc import Iterator
from itertools import chain, islice

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from ..checks import check_int
from .hooks.iteration_seed import reseed
from .hooks.non_finite_loss import NonFiniteLossError
from .work_dir import newest_checkpoint

# What the message hub, and so a checkpoint, keeps of this loop
EPOCH_LENGTH, VALIDATED, ROLLBACKS = 'epoch_length', 'last_validated', 'rollbacks'


class StartingBatchSampler:
    """The batches of another batch sampler, from number ``start`` on.

    Args:
        batches (Iterable): Batch sampler whose epochs are functions of seed and epoch. Its
            attributes, such as ``sampler`` and ``batch_size``, are those of this one.
    """

    def __init__(self, batches: object) -> None:
        self.batches = batches
        self.start = 0

    def __getattr__(self, name: str) -> object:
        if name == 'batches':  # before the constructor, as when a copy is made
            raise AttributeError(name)
        return getattr(self.batches, name)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        """The rest of the epoch; ``start`` is that of the moment of the call."""
        return islice(iter(self.batches), self.start, None)


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's ``EpochBasedTrainLoop`` that resumes anywhere in an epoch, and can go back.

    A checkpoint of the middle of an epoch (``default_hooks.checkpoint.by_epoch=False``, or a
    signal, see ``PreemptionHook``) is resumed with the next batch of that epoch: the position is
    the number of iterations trained, whatever workers had loaded ahead. Order and augmentation
    have to be functions of seed and epoch (``SeededSampler``, ``SeedSample``).

    A validation that was due and is not known to have been completed is made up for on resuming.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader | dict): Loader of the training set, or its config.
        max_epochs (int): Epochs to train.
        max_rollbacks (int): How often in a run a loss or weight that is not finite sends it back
            to its newest checkpoint, to go on with the next seed and so with other batches; then
            it stops. Defaults to 0.
        **kwargs: Further arguments of ``EpochBasedTrainLoop``.

    Raises:
        ValueError: ``max_rollbacks`` is no number, the loader makes no batches, or a checkpoint of
            the middle of an epoch, or with a schedule by iterations, is resumed with epochs of
            another length.
    """

    resumes_inside_epochs = True

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        max_epochs: int,
        max_rollbacks: int = 0,
        **kwargs,
    ) -> None:
        check_int('train_cfg.max_epochs', max_epochs, 1)
        check_int('train_cfg.max_rollbacks', max_rollbacks)
        super().__init__(runner, dataloader, max_epochs, **kwargs)
        self.max_rollbacks = max_rollbacks
        self._position = 0
        if self.dataloader.batch_sampler is None:
            raise ValueError(
                'train_dataloader.batch_size=None: expected batches, which can be counted'
            )
        # DataLoader guards the attribute for the sake of iterators, of which there is none yet
        batches = StartingBatchSampler(self.dataloader.batch_sampler)
        vars(self.dataloader)['batch_sampler'] = batches

    def run(self) -> torch.nn.Module:
        """Trains, from where the runner was resumed."""
        self.runner.call_hook('before_train')
        self._find_position()
        if self._epoch and not self._position and self._info(VALIDATED) != self._epoch:
            self._validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            try:
                self.run_epoch()
            except NonFiniteLossError as error:
                self._roll_back(error)
            else:
                self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Trains the rest of an epoch; batches are counted from its beginning."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first, self._position = self._position, 0
        self.dataloader.batch_sampler.start = first
        for i, batch in enumerate(self.dataloader, first):
            self.run_iter(i, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _info(self, key: str) -> int | None:
        return self.runner.message_hub.runtime_info.get(key)

    def _find_position(self) -> None:
        """Tells how many batches of this epoch are trained already."""
        length = len(self.dataloader)
        before = self._info(EPOCH_LENGTH) or length
        if EPOCH_LENGTH not in self.runner.message_hub.runtime_info and self._epoch:
            before = self._iter // self._epoch  # formerly all were saved at the end of an epoch
        self._position = self._iter - self._epoch * before
        if before != length and (self._position or self._is_scheduled_by_iterations()):
            raise ValueError(
                f'the checkpoint was saved after {self._position} of the {before} iterations of '
                f'epoch {self._epoch + 1}; an epoch of this run has {length}: expected the same '
                'data, train_dataloader.batch_size and number of processes, which the position '
                'and a schedule by iterations need'
            )
        self.runner.message_hub.update_info(EPOCH_LENGTH, length)
        if self._position:
            self.runner.logger.info(
                f'epoch {self._epoch + 1} goes on behind iteration {self._position} of {length}'
            )

    def _is_scheduled_by_iterations(self) -> bool:
        schedulers = self.runner.param_schedulers or []
        if isinstance(schedulers, dict):  # of several optimizers
            schedulers = chain.from_iterable(schedulers.values())
        return any(not scheduler.by_epoch for scheduler in schedulers)

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and self._epoch >= self.val_begin and due:
            # Noted before, since the best checkpoint is saved by the validation itself
            self.runner.message_hub.update_info(VALIDATED, self._epoch)
            self.runner.val_loop.run()

    def _roll_back(self, error: NonFiniteLossError) -> None:
        """Goes back to the newest checkpoint of this run, with the next seed.

        Raises:
            NonFiniteLossError: The one given, if there is no checkpoint or no rollback left.
        """
        runner, done = self.runner, self._info(ROLLBACKS) or 0
        if done >= self.max_rollbacks:
            raise error
        found = [_last_good(runner.work_dir) if is_main_process() else None, runner.seed]
        broadcast_object_list(found)
        path, seed = found
        if path is None:
            raise error
        runner.logger.warning(
            f'{error}\nrollback {done + 1} of at most {self.max_rollbacks}: to {path}, with seed '
            f'{seed + 1} instead of {seed}'
        )
        runner.optim_wrapper.zero_grad()
        runner._resume = True  # of a fresh start, the average would take the weights for its own
        runner.resume(path)
        reseed(runner, seed + 1)
        runner.message_hub.update_info(ROLLBACKS, done + 1)
        runner.optim_wrapper.initialize_count_status(runner.model, self._iter, self._max_iters)
        self._find_position()


def _last_good(work_dir: str) -> str | None:
    try:
        return newest_checkpoint(work_dir)
    except ValueError:  # none is complete
        return None
