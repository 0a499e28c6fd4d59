"""The norm of the gradient, which mmengine logs only where it clips."""

import math

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class GradNormHook(Hook):
    """Logs ``train/grad_norm``: the 2-norm of the whole gradient at each optimizer step.

    It is measured on the accumulated gradient of all processes, divided by the loss scale and
    before any clipping (``optim_wrapper.clip_grad``), which stays as it is. A step that the loss
    scaler skips has none. The norm stays on the device until mmengine has read the losses of the
    iteration: reading it then waits for nothing.
    """

    # After mmengine's reading of the losses; before the average queues work on the device
    priority = 'HIGH'

    def before_train(self, runner: Runner) -> None:
        """Puts the measurement in the place where mmengine clips: gradients are unscaled there."""
        wrapper = runner.optim_wrapper
        clip = wrapper.clip_func if wrapper.clip_grad_kwargs else None
        if clip is None:
            wrapper.clip_grad_kwargs = dict(norm_type=2.0)  # unset, mmengine goes past

        def measure(parameters: list[torch.nn.Parameter], **kwargs) -> None:
            self._norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
            if clip is not None:
                clip(parameters, **kwargs)

        wrapper.clip_func = measure

    def before_train_epoch(self, runner: Runner) -> None:
        """Forgets the norm of an iteration that the run went back from."""
        self._norm = None

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Logs the norm if this iteration made a step; it joins ``outputs`` for other hooks."""
        if self._norm is None:
            return
        norm, self._norm = float(self._norm), None
        if math.isfinite(norm):
            runner.message_hub.update_scalar('train/grad_norm', norm)
            outputs['grad_norm'] = norm
