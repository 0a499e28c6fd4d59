"""An average of the weights that counts optimizer steps."""

from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class OptimStepEMAHook(EMAHook):
    """mmengine's ``EMAHook``, updated once per optimizer step instead of once per micro-step.

    ``W <- (1 - momentum) W + momentum w``; ``momentum=1e-4`` is a decay of 0.9999.
    """

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
