"""What the other samples of a batch change: spikes that flip where sums round differently."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..neurons import SpikingNeuron
from .record import recording


@dataclass(frozen=True)
class BatchDifference:
    """A batch against its samples one by one.

    Attributes:
        spikes (int): Outputs of all neurons at all steps for all samples, one each.
        flips (int): How many of them differ.
        logits (float): Largest absolute difference of a logit.
        largest_logit (float): Largest absolute logit.
    """

    spikes: int
    flips: int
    logits: float
    largest_logit: float


def compare_with_batch_of_one(model: nn.Module, x: Tensor) -> BatchDifference:
    """Runs a batch together and its samples one by one, and compares every spike.

    Args:
        model (nn.Module): Classifier in eval mode whose ``backbone`` is one of this package.
        x (Tensor): Images ``[B, C, H, W]`` or event frames ``[B, T, C, H, W]``.

    Returns:
        BatchDifference: The spikes compared and the differences.
    """
    together, logits = _spikes_and_logits(model, x)
    flips, difference = 0, 0.0
    for i in range(len(x)):
        alone, logits_alone = _spikes_and_logits(model, x[i : i + 1])
        flips += sum(int((a[:, 0] != b[:, i]).sum()) for a, b in zip(alone, together, strict=True))
        difference = max(difference, float((logits_alone[0] - logits[i]).abs().max()))
    return BatchDifference(
        spikes=sum(spikes.numel() for spikes in together),
        flips=flips,
        logits=difference,
        largest_logit=float(logits.abs().max()),
    )


def _spikes_and_logits(model: nn.Module, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """Spikes ``[T, B, ...]`` of every call of every neuron, and the logits."""
    with torch.no_grad(), recording(model, SpikingNeuron) as spikes:
        logits = model(x)
    return [call for calls in spikes.values() for call in calls], logits
