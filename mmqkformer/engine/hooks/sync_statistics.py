"""One set of BatchNorm's statistics for all processes."""

from mmengine.dist import all_reduce_params
from mmengine.hooks import SyncBuffersHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class SyncStatisticsHook(SyncBuffersHook):
    """mmengine's ``SyncBuffersHook``, which also averages before a checkpoint is saved.

    Each process has running statistics of its own batches. Their mean takes their place at the end
    of an epoch, before a validation and before ``AtomicCheckpointHook`` saves, so that a checkpoint
    holds what is validated.
    """

    # Before the average of the weights, the checkpoint and the logs
    priority = 'ABOVE_NORMAL'

    def __init__(self) -> None:
        super().__init__()
        self.synchronised = False

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Notes that each process has updated its own."""
        self.synchronised = False

    def after_train_epoch(self, runner: Runner) -> None:
        """Averages the buffers of all processes."""
        self._synchronise(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Averages the buffers of all processes, unless nothing was trained since."""
        self._synchronise(runner)

    def before_checkpoint(self, runner: Runner) -> None:
        """Averages the buffers of all processes; ``AtomicCheckpointHook`` calls it in all."""
        self._synchronise(runner)

    def _synchronise(self, runner: Runner) -> None:
        # Once: the mean of equal values is not always, to the last bit, that value
        if self.distributed and not self.synchronised:
            all_reduce_params(runner.model.buffers(), op='mean')
            self.synchronised = True
