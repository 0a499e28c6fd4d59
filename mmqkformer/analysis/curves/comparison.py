"""At which epoch, and by how much, one training leaves the curves of another."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .reading import TAGS, Curves


@dataclass(frozen=True)
class Rule:
    """When a run has left its reference.

    The tolerance of an epoch is the largest of a floor and what the reference itself does around
    it: a straight line is fitted by least squares to the reference, ``window`` epochs to either
    side. With its slope s and the standard deviation sigma of the reference about it,

    ``tolerance = max(floor, lag * |s| + spread * sqrt(2) * sigma)``;

    two runs that scatter alike differ by ``sqrt(2) * sigma``. The run departs at the first of
    ``patience`` epochs in a row whose ``|run - reference|`` exceeds it. A learning rate departs at
    the first epoch at which it differs in the digits that the reference prints.

    Attributes:
        patience (int): Epochs in a row.
        lag (float): Epochs that the run may be early or late.
        spread (float): Standard deviations.
        window (int): Epochs to either side.
        accuracy_floor (float): Floor of accuracies, percentage points.
        loss_floor (float): Floor of losses, a share of the reference's loss.
    """

    patience: int = 3
    lag: float = 1.0
    spread: float = 2.0
    window: int = 3
    accuracy_floor: float = 0.5
    loss_floor: float = 0.01


@dataclass(frozen=True)
class Difference:
    """A run and its reference at one epoch.

    Attributes:
        epoch (int): The epoch, from 1.
        run (float): The run's value.
        reference (float): The reference's.
        tolerance (float): The largest difference that is none.
    """

    epoch: int
    run: float
    reference: float
    tolerance: float

    @property
    def value(self) -> float:
        """Run minus reference."""
        return self.run - self.reference

    @property
    def exceeds(self) -> bool:
        """Whether it is out of the tolerance; what is not a number is."""
        return not abs(self.value) <= self.tolerance


@dataclass(frozen=True)
class Compared:
    """One quantity of two trainings.

    Attributes:
        quantity (str): Of :data:`~mmqkformer.analysis.curves.reading.TAGS`.
        differences (list[Difference]): Of every epoch that both have.
        departure (Difference | None): The first epoch of those that left the reference.
        furthest (Difference): The epoch of the largest difference.
    """

    quantity: str
    differences: list[Difference]
    departure: Difference | None
    furthest: Difference


@dataclass(frozen=True)
class Comparison:
    """A run beside its reference.

    Attributes:
        run (Curves): The run.
        reference (Curves): The reference.
        compared (list[Compared]): What both logged.
        rule (Rule): How it was decided.
    """

    run: Curves
    reference: Curves
    compared: list[Compared]
    rule: Rule


def compare_curves(run: Curves, reference: Curves, rule: Rule | None = None) -> Comparison:
    """Compares the epochs that two trainings have in common.

    Args:
        run (Curves): The run.
        reference (Curves): What it is to follow.
        rule (Rule | None): When it has left it. Defaults to None, ``Rule()``.

    Returns:
        Comparison: The quantities that both have, in the order of
        :data:`~mmqkformer.analysis.curves.reading.TAGS`.

    Raises:
        ValueError: They have no epoch of any quantity in common.
    """
    rule = rule or Rule()
    compared = []
    for quantity in TAGS:
        ours, theirs = run.values.get(quantity, {}), reference.values.get(quantity, {})
        theirs = {epoch: value for epoch, value in sorted(theirs.items()) if math.isfinite(value)}
        common = [epoch for epoch in theirs if epoch in ours]
        if not common:
            continue
        if quantity == 'lr':
            # Half a unit of the last digit; a little more, since ties round either way
            tolerances = {e: 0.5000001 * reference.lr_unit.get(e, 0.0) for e in theirs}
        else:
            tolerances = _tolerances(quantity, theirs, rule)
        differences = [Difference(e, ours[e], theirs[e], tolerances[e]) for e in common]
        patience = 1 if quantity == 'lr' else rule.patience
        compared.append(
            Compared(
                quantity,
                differences,
                _departure(differences, patience),
                max(differences, key=lambda d: math.inf if math.isnan(d.value) else abs(d.value)),
            )
        )
    if not compared:
        raise ValueError(
            f'{run.name} and {reference.name}: no epoch of one quantity in common: '
            f'{_contents(run)} and {_contents(reference)}'
        )
    return Comparison(run, reference, compared, rule)


def _departure(differences: list[Difference], patience: int) -> Difference | None:
    streak: list[Difference] = []
    for difference in differences:
        streak = [*streak, difference] if difference.exceeds else []
        if len(streak) == patience:
            return streak[0]
    return None


def _tolerances(quantity: str, values: Mapping[int, float], rule: Rule) -> dict[int, float]:
    epochs, curve = np.array(list(values)), np.array(list(values.values()))
    tolerances = {}
    for epoch, value in values.items():
        near = np.abs(epochs - epoch) <= rule.window
        slope, noise = _line(epochs[near], curve[near])
        is_loss = 'loss' in quantity
        floor = rule.loss_floor * abs(value) if is_loss else rule.accuracy_floor
        allowed = rule.lag * abs(slope) + rule.spread * math.sqrt(2) * noise
        tolerances[epoch] = max(floor, allowed)
    return tolerances


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope, and standard deviation about the line, of which three points tell least."""
    if len(x) < 3:
        return 0.0, 0.0
    slope, offset = np.polyfit(x - x.mean(), y, 1)
    residuals = y - slope * (x - x.mean()) - offset
    return float(slope), float(np.sqrt((residuals**2).sum() / (len(x) - 2)))


def _contents(curves: Curves) -> str:
    return ', '.join(
        f'{name} of epochs {min(values)} to {max(values)}'
        for name, values in curves.values.items()
        if values
    )


def rate_factor(compared: Compared) -> float | None:
    """By what a whole learning rate is off: the run's over the reference's, if that is constant.

    Args:
        compared (Compared): The learning rates.

    Returns:
        float | None: The median of the ratios, if all are within 5 % of it.
    """
    ratios = [d.run / d.reference for d in compared.differences if d.reference]
    middle = float(np.median(ratios))
    near = all(abs(ratio / middle - 1) < 0.05 for ratio in ratios) if middle else False
    return middle if near else None


def verdict(compared: Compared) -> str:
    """One line: where a quantity departs and by how much, or how far it ever was from that.

    Args:
        compared (Compared): The quantity.
    """
    number = '{:.6g}'.format
    furthest, departure = compared.furthest, compared.departure
    most = f'{furthest.value:+.3g} at epoch {furthest.epoch}'
    if departure is None:
        return f'on track; most {most}, tolerance {furthest.tolerance:.3g}'
    line = (
        f'departs at epoch {departure.epoch}: {number(departure.run)} against '
        f'{number(departure.reference)}, {departure.value:+.3g}, tolerance '
        f'{departure.tolerance:.3g}; most {most}'
    )
    factor = rate_factor(compared) if compared.quantity == 'lr' else None
    return line if factor is None else f'{line}; about {factor:.3g} times the reference throughout'
