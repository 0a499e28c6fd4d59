"""A run against its reference: departures at known epochs, of known size."""

import json
import math
from dataclasses import asdict

import pytest
from matplotlib.figure import Figure

from mmqkformer.analysis import Curves, Rule, compare_curves
from mmqkformer.analysis.curves.comparison import verdict
from mmqkformer.analysis.curves.figure import draw_comparison

EPOCHS = range(1, 31)
# 0.1 points an epoch, without noise: the tolerance is its floor
LINE = {epoch: 60 + 0.1 * epoch for epoch in EPOCHS}


def compared(run, reference, quantity='top1', rule=None, units=None):
    comparison = compare_curves(
        Curves('run', {quantity: run}), Curves('it', {quantity: reference}, units or {}), rule
    )
    (only,) = comparison.compared
    return only


def test_a_departure_is_found_at_its_epoch_with_its_size():
    """One epoch alone is none, two in a row neither; from epoch 13 it is 3 points behind."""
    run = {e: v - (3 if e in (4, 7, 8) or e >= 13 else 0.4) for e, v in LINE.items()}
    found = compared(run, LINE)
    assert found.departure.epoch == 13
    assert found.departure.value == pytest.approx(-3)
    assert found.departure.tolerance == pytest.approx(0.5)
    assert verdict(found).startswith('departs at epoch 13: 58.3 against 61.3, -3, tolerance 0.5;')
    assert compared(run, LINE, rule=Rule(patience=2)).departure.epoch == 7
    assert compared(run, LINE, rule=Rule(patience=1)).departure.epoch == 4
    assert compared(run, LINE, rule=Rule(accuracy_floor=3.1)).departure is None


def test_a_run_that_is_ahead_departs_too():
    assert compared({e: v + 2 for e, v in LINE.items()}, LINE).departure.value == pytest.approx(2)


def test_a_curve_that_is_late_is_forgiven_its_slope():
    """0.9 epochs late at 4 points an epoch are 3.6 points, within 1 epoch and not within 0.8."""
    steep = {epoch: 4.0 * epoch for epoch in range(1, 21)}
    late = {epoch: 4.0 * (epoch - 0.9) for epoch in steep}
    found = compared(late, steep)
    assert found.departure is None
    assert found.furthest.tolerance == pytest.approx(4)
    assert 'on track; most -3.6 at epoch' in verdict(found)
    assert compared(late, steep, rule=Rule(lag=0.8)).departure.epoch == 1


def test_the_tolerance_of_a_noisy_curve_follows_its_equation():
    """0, 3, 0 has slope 0 and, about its mean, squares of 6 with one degree of freedom."""
    found = compared({2: 0.0}, {1: 0.0, 2: 3.0, 3: 0.0}, rule=Rule(window=1, spread=2.0))
    assert found.differences[0].tolerance == pytest.approx(2 * math.sqrt(2) * math.sqrt(6))


def test_losses_have_a_floor_of_their_size():
    flat = dict.fromkeys(EPOCHS, 2.0)
    near, far = ({e: 2.0 + by for e in EPOCHS} for by in (0.019, 0.021))
    assert compared(near, flat, 'train_loss').departure is None
    assert compared(far, flat, 'train_loss').departure.epoch == 1
    assert compared(far, flat, 'val_loss', Rule(loss_floor=0.011)).departure is None


def test_a_loss_that_is_no_number_departs():
    run = {e: (math.nan if e >= 20 else v) for e, v in LINE.items()}
    found = compared(run, LINE)
    assert found.departure.epoch == found.furthest.epoch == 20


def test_epochs_in_a_row_are_those_that_both_have():
    run = {e: v - 3 for e, v in LINE.items() if e in (10, 15, 20)}
    assert compared(run, LINE).departure.epoch == 10
    assert compared({e: run[e] for e in (10, 15)}, LINE).departure is None


def test_a_rate_is_compared_in_the_digits_printed():
    reference, units = {1: 0.000240, 2: 0.000480}, {1: 1e-6, 2: 1e-6}
    same = compared({1: 0.0002404999, 2: 0.0004795001}, reference, 'lr', units=units)
    assert same.departure is None
    other = compared({1: 0.0002404999, 2: 0.0004794999}, reference, 'lr', units=units)
    assert other.departure.epoch == 2
    half = compared({1: 0.000120, 2: 0.000240}, reference, 'lr', units=units)
    assert half.departure.epoch == 1
    assert verdict(half).endswith('; about 0.5 times the reference throughout')
    assert 'throughout' not in verdict(
        compared({1: 0.0001, 2: 0.0004}, reference, 'lr', None, units)
    )


def test_nothing_in_common_is_told():
    run, reference = Curves('a', {'top1': {1: 5.0}}), Curves('b', {'top1': {2: 5.0}, 'lr': {2: 1}})
    with pytest.raises(ValueError, match='a and b: no epoch of one quantity in common: top1 of ep'):
        compare_curves(run, reference)


def test_it_is_drawn_and_is_json():
    run = Curves('run', {'top1': {1: 1.0, 2: 2.0}, 'val_loss': {1: 3.0}})
    reference = Curves('it', {'top1': {e: e + 9.0 for e in EPOCHS}, 'train_loss': {1: 3.0}})
    comparison = compare_curves(run, reference, Rule(patience=1))
    assert json.loads(json.dumps(asdict(comparison)))['compared'][0]['departure']['run'] == 1.0
    figure = Figure()
    draw_comparison(figure, comparison)
    loss, accuracy, loss_differences, differences = figure.axes
    assert [axes.get_title() for axes in (loss, accuracy)] == ['loss', 'accuracy, %']
    assert [text.get_text() for text in loss_differences.texts] == ['not in both']
    assert list(differences.lines[0].get_ydata()) == [-9.0, -9.0]
    labels = [text.get_text() for text in loss.get_legend().get_texts()]
    assert labels == ['training, reference only', 'validation']
