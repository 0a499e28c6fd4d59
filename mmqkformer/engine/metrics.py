"""Metrics of a validation that its frameworks do not have."""

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS


@METRICS.register_module()
class CrossEntropy(BaseMetric):
    """The cross-entropy of predicted classes, ``loss``: the mean of ``-log p(label)`` in nats.

    It is computed from the probabilities of the predictions that the other metrics use, without
    label smoothing: what PyTorch's ``CrossEntropyLoss`` gives on their logits, up to some 87, the
    logarithm of the smallest normal float32.

    mmengine's logs smooth what has ``loss`` in its name over the last ten values, validations too;
    ``log_processor.mean_pattern`` of ``configs/_base_/default_runtime.py`` excepts ``val/``.
    """

    default_prefix = ''  # none, on purpose: mmengine would warn

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Adds a batch.

        Args:
            data_batch (dict): The batch; unused.
            data_samples (Sequence[dict]): ``pred_score``, probabilities ``[num_classes]``, and
                ``gt_label``, one class ``[1]``, of each sample.
        """
        scores = torch.stack([sample['pred_score'] for sample in data_samples]).double()
        labels = torch.stack([sample['gt_label'] for sample in data_samples]).to(scores.device)
        smallest = torch.finfo(torch.float32).tiny
        self.results += scores.gather(1, labels).clamp_min(smallest).log().neg().flatten().tolist()

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """The mean over all samples of all processes."""
        return dict(loss=sum(results) / len(results))
