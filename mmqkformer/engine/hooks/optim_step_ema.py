"""An average of the weights that counts optimizer steps and is validated beside them."""

import itertools

from mmengine.dist import all_reduce_params
from mmengine.hooks import EMAHook, RuntimeInfoHook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner

from ...checks import check_int, check_number
from ..statistics import estimate_statistics


@HOOKS.register_module()
class OptimStepEMAHook(EMAHook):
    """mmengine's ``EMAHook`` per optimizer step, with statistics and a validation of its own.

    ``W <- (1 - momentum) W + momentum w`` once per optimizer step instead of once per micro-step;
    ``momentum=1e-4`` is a decay of 0.9999.

    BatchNorm's running statistics belong to the raw weights. Those of the average are estimated
    (:func:`~mmqkformer.engine.statistics.estimate_statistics`) at the end of every epoch, and
    before a validation that follows an iteration, on the same training samples every time.

    A validation measures both sets: ``accuracy/top1`` is that of the raw weights,
    ``accuracy_ema/top1`` that of the average (:func:`averaged_name`). A checkpoint holds the
    average with its statistics in ``state_dict``, the raw weights with theirs in
    ``ema_state_dict``. One that is saved between two estimates has the raw weights' statistics in
    both.

    Args:
        momentum (float | None): Weight of the new weights, above 0 and below 1. Defaults to None:
            the average's own, 0.0002.
        num_samples (int): Training samples that the statistics are estimated on, in all processes
            together; at most the data set's. 0: none are, the average has the raw weights'
            statistics. Defaults to 8192.
        begin_iter (int): Iteration to begin with. Defaults to 0.
        begin_epoch (int): Epoch to begin with, instead. Defaults to 0.
        **kwargs: Further arguments of ``EMAHook`` and of the average. With ``update_buffers=True``
            the statistics are averaged as the weights are, and not estimated.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(
        self,
        momentum: float | None = None,
        num_samples: int = 8192,
        begin_iter: int = 0,
        begin_epoch: int = 0,
        **kwargs,
    ) -> None:
        if momentum is not None:
            check_number('OptimStepEMAHook.momentum', momentum, above=0, below=1)
            kwargs.update(momentum=momentum)
        super().__init__(
            begin_iter=check_int('OptimStepEMAHook.begin_iter', begin_iter),
            begin_epoch=check_int('OptimStepEMAHook.begin_epoch', begin_epoch),
            **kwargs,
        )
        self.num_samples = check_int('OptimStepEMAHook.num_samples', num_samples)
        self._in_training = False
        self._settled = False

    def before_train(self, runner: Runner) -> None:
        """As ``EMAHook``."""
        super().before_train(runner)
        self._in_training = True

    def after_train(self, runner: Runner) -> None:
        """Notes that a validation would follow no training."""
        self._in_training = False

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Updates the average if this micro-step has ended an accumulation group."""
        if runner.optim_wrapper.should_update():
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
            self._settled = False
        # Now, not in the validation: a checkpoint of this iteration is saved before it
        if isinstance(runner.train_loop, IterBasedTrainLoop) and runner.val_loop is not None:
            interval = runner.train_loop.val_interval
            if self.every_n_train_iters(runner, interval) or self.is_last_train_iter(runner):
                self._settle_statistics(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Gives the average its statistics."""
        self._settle_statistics(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Leaves the raw weights in place, which the loop validates."""

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Validates the average too; its metrics join those of the raw weights, in place."""
        if not self._in_training:
            return
        self._settle_statistics(runner)
        runner.logger.info('Validation of the averaged weights')
        self._swap_ema_parameters()
        loop = runner.val_loop
        for i, batch in enumerate(loop.dataloader):
            loop.run_iter(i, batch)
        measured = loop.evaluator.evaluate(len(loop.dataloader.dataset))
        self._swap_ema_parameters()
        measured = {averaged_name(name): value for name, value in measured.items()}
        metrics.update(measured)
        RuntimeInfoHook().after_val_epoch(runner, measured)  # its own turn is over

    def before_checkpoint(self, runner: Runner) -> None:
        """Gives all processes the same statistics; ``AtomicCheckpointHook`` calls it in all."""
        self._unite_statistics()

    def _settle_statistics(self, runner: Runner) -> None:
        if self._settled:
            return
        self._unite_statistics()
        if self.num_samples and not self.ema_model.update_buffers:
            estimate_statistics(self.ema_model.module, runner.train_dataloader, self.num_samples)
        self._settled = True

    def _unite_statistics(self) -> None:
        if not self._settled:
            all_reduce_params(self.ema_model.module.buffers(), op='mean')

    def _swap_ema_parameters(self) -> None:
        pairs = zip(
            itertools.chain(self.ema_model.module.parameters(), self.ema_model.module.buffers()),
            itertools.chain(self.src_model.parameters(), self.src_model.buffers()),
        )
        for averaged, raw in pairs:
            kept = averaged.data.clone()
            averaged.data.copy_(raw.data)
            raw.data.copy_(kept)


def averaged_name(name: str) -> str:
    """The name of a metric that the averaged weights were measured with.

    ``_ema`` follows the first part: ``accuracy/top1`` becomes ``accuracy_ema/top1``, ``mIoU``
    becomes ``mIoU_ema``.
    """
    first, slash, rest = name.partition('/')
    return f'{first}_ema{slash}{rest}'
