"""The loss of a classifier's validation, in the pass that measures its accuracy."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..metrics import CrossEntropy


@HOOKS.register_module()
class ValidationLossHook(Hook):
    """Adds :class:`~mmqkformer.engine.metrics.CrossEntropy` where ``accuracy/...`` is measured.

    So that each config logs ``val/loss`` without a list of two evaluators.
    """

    def before_val(self, runner: Runner) -> None:
        """Adds the metric to the validation's evaluator, once."""
        metrics = runner.val_evaluator.metrics
        measures_accuracy = any(metric.prefix == 'accuracy' for metric in metrics)
        if measures_accuracy and not any(isinstance(m, CrossEntropy) for m in metrics):
            metrics.append(CrossEntropy())
