"""Classifiers that stop as soon as they are sure, as a runner tests them."""

import torch
from mmengine.dist import all_reduce
from torch import nn

from ..analysis.early_exit import ExitRule, exit_early
from ..analysis.stepwise import check_stepwise


class EarlyExitClassifier(nn.Module):
    """A classifier whose test step runs a sample for as many time steps as a rule asks for.

    Args:
        model (nn.Module): Classifier; see :func:`~mmqkformer.analysis.exit_early`.
        rule (ExitRule): When a sample stops.

    Attributes:
        exits (Tensor): Samples so far that stopped after 1, 2, ..., T steps.

    Raises:
        ValueError: The model does not run step by step.
    """

    def __init__(self, model: nn.Module, rule: ExitRule) -> None:
        super().__init__()
        check_stepwise(model)
        self.model = model
        self.rule = rule
        self.exits = torch.zeros(model.backbone.time_steps, dtype=torch.int64)

    def test_step(self, data: dict) -> list:
        """Predicts a batch of the loader: its data samples with ``pred_score`` and ``pred_label``.

        Args:
            data (dict): ``inputs`` and ``data_samples``.
        """
        data = self.model.data_preprocessor(data, False)
        logits, steps = exit_early(self.model, data['inputs'], self.rule)
        self.exits += steps.cpu().bincount(minlength=len(self.exits) + 1)[1:]
        for sample, scores in zip(data['data_samples'], logits.softmax(1), strict=True):
            sample.set_pred_score(scores).set_pred_label(scores.argmax(0, keepdim=True))
        return data['data_samples']

    def report(self) -> str:
        """The mean of the steps that ran, and how many samples stopped when, of all processes."""
        exits = self.exits.clone()
        all_reduce(exits)
        steps = torch.arange(1, len(exits) + 1)
        mean = (exits * steps).sum().item() / max(exits.sum().item(), 1)
        return (
            f'early exit at {self.rule.name}={self.rule.threshold:g}: {mean:.2f} of {len(exits)} '
            f'steps a sample; {" ".join(map(str, exits.tolist()))} samples stopped after '
            f'1 to {len(exits)}'
        )
