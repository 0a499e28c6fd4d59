"""An average of the weights that counts optimizer steps."""

from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...checks import check_int, check_number


@HOOKS.register_module()
class OptimStepEMAHook(EMAHook):
    """mmengine's ``EMAHook``, updated once per optimizer step instead of once per micro-step.

    ``W <- (1 - momentum) W + momentum w``; ``momentum=1e-4`` is a decay of 0.9999.

    Args:
        momentum (float | None): Weight of the new weights, above 0 and below 1. Defaults to None:
            the average's own, 0.0002.
        begin_iter (int): Iteration to begin with. Defaults to 0.
        begin_epoch (int): Epoch to begin with, instead. Defaults to 0.
        **kwargs: Further arguments of ``EMAHook`` and of the average.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(
        self, momentum: float | None = None, begin_iter: int = 0, begin_epoch: int = 0, **kwargs
    ) -> None:
        if momentum is not None:
            check_number('OptimStepEMAHook.momentum', momentum, above=0, below=1)
            kwargs.update(momentum=momentum)
        super().__init__(
            begin_iter=check_int('OptimStepEMAHook.begin_iter', begin_iter),
            begin_epoch=check_int('OptimStepEMAHook.begin_epoch', begin_epoch),
            **kwargs,
        )

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
