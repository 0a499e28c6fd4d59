"""Early exit over T: what a classifier gains and loses that stops as soon as it is sure."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..checks import check_number, check_str
from .operations import count_operations
from .stepwise import check_stepwise, logits_over_time, run_stepwise, running_for, takes_events


def _confidence(scores: Tensor) -> Tensor:
    return scores.amax(-1)


def _margin(scores: Tensor) -> Tensor:
    first, second = scores.topk(2, dim=-1).values.unbind(-1)
    return first - second


def _entropy(scores: Tensor) -> Tensor:
    return torch.special.entr(scores).sum(-1) / torch.tensor(float(scores.size(-1))).log()


_MEASURES: dict[str, Callable[[Tensor], Tensor]] = dict(
    confidence=_confidence, margin=_margin, entropy=_entropy
)
RULES = tuple(_MEASURES)


@dataclass(frozen=True)
class ExitRule:
    """When a classifier has seen enough steps.

    Of the scores p, the softmax of the mean of the logits so far, it stops where

    ============== ===================================================================
    name           stops where
    ============== ===================================================================
    ``confidence`` ``max p >= threshold``
    ``margin``     the largest less the second largest p is ``>= threshold``
    ``entropy``    ``-sum p log p / log(classes) <= threshold``
    ============== ===================================================================

    Attributes:
        name (str): ``confidence``, ``margin`` or ``entropy``.
        threshold (float): From 0 to 1.

    Raises:
        ValueError: The name is unknown, or the threshold out of range.
    """

    name: str
    threshold: float

    def __post_init__(self) -> None:
        check_str('rule', self.name, RULES)
        check_number(self.name, self.threshold, 0, 1)

    @classmethod
    def parse(cls, text: str) -> 'ExitRule':
        """The rule of a command line, ``confidence=0.9``.

        Raises:
            ValueError: It is none.
        """
        name, _, threshold = text.partition('=')
        try:
            threshold = float(threshold)
        except ValueError:
            raise ValueError(
                f'{text!r}: expected RULE=THRESHOLD, such as confidence=0.9; '
                f'the rules are {", ".join(RULES)}'
            ) from None
        return cls(name, threshold)

    def stops(self, logits: Tensor) -> Tensor:
        """Whether it stops at logits ``[..., classes]``, of two classes at least: ``[...]``."""
        measure = _MEASURES[self.name](logits.softmax(-1))
        return measure <= self.threshold if self.name == 'entropy' else measure >= self.threshold

    def steps(self, logits: Tensor) -> Tensor:
        """Steps that run, of ``[T, B, classes]`` after each step: ``[B]``, from 1 to T."""
        stops = self.stops(logits)
        stops[-1] = True
        return stops.int().argmax(0) + 1


def exit_early(model: nn.Module, inputs: Tensor, rule: ExitRule) -> tuple[Tensor, Tensor]:
    """Runs a classifier step by step, the next step for those samples only that are not sure.

    Args:
        model (nn.Module): Classifier in eval mode; see
            :func:`~mmqkformer.analysis.stepwise.run_stepwise`.
        inputs (Tensor): Images ``[B, C, H, W]`` or frames ``[B, T, C, H, W]``.
        rule (ExitRule): When a sample stops.

    Returns:
        tuple[Tensor, Tensor]: Logits ``[B, classes]``, the mean over the steps that ran, and the
        number of these steps, ``[B]``.

    Raises:
        ValueError: The model does not run step by step.
    """
    time_steps = model.backbone.time_steps
    left = torch.arange(len(inputs), device=inputs.device)
    steps = torch.empty_like(left)
    given = None
    with run_stepwise(model, inputs) as run:
        while len(left):
            logits = run.step()
            given = torch.empty_like(logits) if given is None else given
            done = rule.stops(logits) | (run.steps == time_steps)
            given[left[done]], steps[left[done]] = logits[done], run.steps
            left = left[~done]
            run.keep(~done)
    return given, steps


@dataclass
class StepPredictions:
    """What a classifier says of labelled samples after each step.

    Attributes:
        logits (Tensor): Means so far, ``[T, N, classes]``.
        labels (Tensor): Classes ``[N]``.
    """

    logits: Tensor
    labels: Tensor

    def accuracies(self) -> list[float]:
        """Percent that are right after 1, 2, ..., T steps: how well it does with fewer."""
        right = self.logits.argmax(-1) == self.labels
        return right.double().mean(1).mul(100).tolist()


def predict_over_time(model: nn.Module, batches: Iterable[dict]) -> StepPredictions:
    """Classifies samples with 1, 2, ..., T steps.

    Args:
        model (nn.Module): Classifier in eval mode; see
            :func:`~mmqkformer.analysis.stepwise.logits_over_time`.
        batches (Iterable[dict]): ``inputs`` and ``data_samples`` with labels each, as of
            ``Subject.batches``.

    Raises:
        ValueError: The head does not classify every step, or there is no batch.
    """
    logits, labels = [], []
    for batch in batches:
        logits.append(logits_over_time(model, batch['inputs']).cpu())
        labels += [int(sample.gt_label) for sample in batch['data_samples']]
    if not logits:
        raise ValueError('batches: expected at least one')
    return StepPredictions(torch.cat(logits, 1), torch.tensor(labels))


@dataclass
class StepCosts:
    """What 1, 2, ..., T steps take for one sample; every list has T entries.

    Attributes:
        accumulates (list[int]): As of :func:`~mmqkformer.analysis.count_operations`.
        multiply_accumulates (list[int]): Likewise.
        whole (list[float]): Milliseconds of one run of so many steps, medians.
        stepwise (list[float]): Milliseconds of so many steps one after another, each with the
            decision whether to stop, medians.
        repeats (int): Measurements of each time.
        device (str): Where it was measured.
    """

    accumulates: list[int]
    multiply_accumulates: list[int]
    whole: list[float]
    stepwise: list[float]
    repeats: int
    device: str


def measure_steps(model: nn.Module, sample: Tensor, rule: ExitRule, repeats: int = 10) -> StepCosts:
    """Counts the operations of 1 to T steps, and measures their time, with a batch of one.

    Whole and stepwise runs take turns, so that what disturbs the machine disturbs both.

    Args:
        model (nn.Module): Classifier in eval mode; see
            :func:`~mmqkformer.analysis.stepwise.run_stepwise`.
        sample (Tensor): An image ``[1, C, H, W]``, or frames ``[1, T, C, H, W]``.
        rule (ExitRule): The decision that stepwise runs take, and here never follow.
        repeats (int): Measurements of each time. Defaults to 10.

    Raises:
        ValueError: The model does not run step by step.
    """
    check_stepwise(model)
    steps = range(1, model.backbone.time_steps + 1)
    costs = StepCosts([], [], [], [], repeats, str(sample.device))
    for t in steps:
        with running_for(model, t):
            counts = count_operations(model, tuple(_first_steps(sample, t).shape[1:]))
        costs.accumulates.append(sum(counts.accumulates.values()))
        costs.multiply_accumulates.append(sum(counts.multiply_accumulates.values()))
    whole: list[list[float]] = [[] for _ in steps]
    stepwise: list[list[float]] = [[] for _ in steps]
    # The first turn warms up
    for turn in tqdm(range(repeats + 1), desc='times', leave=False):
        for t, found in zip(steps, whole):
            with running_for(model, t), torch.no_grad():
                start = _now(sample)
                model(_first_steps(sample, t))
                found += [_now(sample) - start] * (turn > 0)
        start = _now(sample)
        with run_stepwise(model, sample) as run:
            for found in stepwise:
                bool(rule.stops(run.step()))
                found += [_now(sample) - start] * (turn > 0)
    costs.whole = [1e3 * median(found) for found in whole]
    costs.stepwise = [1e3 * median(found) for found in stepwise]
    return costs


def _first_steps(sample: Tensor, t: int) -> Tensor:
    return sample[:, :t] if takes_events(sample) else sample


def _now(sample: Tensor) -> float:
    if sample.is_cuda:
        torch.cuda.synchronize(sample.device)
    return time.perf_counter()


@dataclass
class ExitPoint:
    """What a threshold leads to.

    Attributes:
        threshold (float): The threshold.
        accuracy (float): Percent.
        mean_steps (float): Steps that run, the mean over samples.
        exits (list[int]): Samples that stop after 1, 2, ..., T steps.
        operations (float | None): Products a sample, accumulates and multiply-accumulates, the
            mean; None without costs.
        milliseconds (float | None): Mean time of a sample, step by step; None without costs.
    """

    threshold: float
    accuracy: float
    mean_steps: float
    exits: list[int]
    operations: float | None = None
    milliseconds: float | None = None


@dataclass
class EarlyExit:
    """A rule at several thresholds.

    Attributes:
        rule (str): Its name.
        samples (int): Number of samples.
        accuracies (list[float]): Percent that are right when all stop after 1, 2, ..., T steps.
        points (list[ExitPoint]): One for each threshold.
        costs (StepCosts | None): What steps take, where it was measured.
    """

    rule: str
    samples: int
    accuracies: list[float]
    points: list[ExitPoint] = field(default_factory=list)
    costs: StepCosts | None = None


def sweep_thresholds(
    predictions: StepPredictions,
    rule: str,
    thresholds: Sequence[float],
    costs: StepCosts | None = None,
) -> EarlyExit:
    """What a rule leads to at each of some thresholds.

    Args:
        predictions (StepPredictions): What the classifier says after each step.
        rule (str): A name of :data:`RULES`.
        thresholds (Sequence[float]): From 0 to 1.
        costs (StepCosts | None): What steps take. Defaults to None.

    Raises:
        ValueError: The rule is unknown, or a threshold out of range.
    """
    logits, labels = predictions.logits, predictions.labels
    time_steps, samples = logits.shape[:2]
    result = EarlyExit(rule, samples, predictions.accuracies(), costs=costs)
    for threshold in thresholds:
        steps = ExitRule(rule, threshold).steps(logits)
        right = logits[steps - 1, torch.arange(samples)].argmax(-1) == labels
        exits = steps.bincount(minlength=time_steps + 1)[1:].tolist()
        point = ExitPoint(
            threshold=float(threshold),
            accuracy=100 * right.double().mean().item(),
            mean_steps=steps.double().mean().item(),
            exits=exits,
        )
        if costs is not None:
            products = map(sum, zip(costs.accumulates, costs.multiply_accumulates))
            point.operations = sum(n * each for n, each in zip(exits, products)) / samples
            point.milliseconds = sum(n * each for n, each in zip(exits, costs.stepwise)) / samples
        result.points.append(point)
    return result
