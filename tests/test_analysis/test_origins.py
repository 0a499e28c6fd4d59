"""What tensors are made of, by the operators that make them."""

import pytest
import torch
from torch import nn

from mmqkformer.analysis import measure_work
from mmqkformer.analysis.energy.origins import numbers_of_spikes
from mmqkformer.neurons import ILIFNeuron


class Between(nn.Module):
    """A function between a neuron that emits up to 3 spikes of 1/3 and a linear layer."""

    def __init__(self, function, features=4):
        super().__init__()
        self.neuron = ILIFNeuron(levels=3, normalize=True)
        self.function = function
        self.fc = nn.Linear(features, 2)
        self.eval()

    def forward(self, x, mode):
        return self.fc(self.function(self.neuron(x)))


# Rounded to 0, 1, 2 and 3 spikes
CURRENTS = torch.tensor([[0.2, 1.1, 2.2, 2.9]])
THIRD = pytest.approx(1 / 3)
POOL = nn.MaxPool2d(2, ceil_mode=True)


def look(function, features=4):
    work = measure_work(Between(function, features), [dict(inputs=CURRENTS)])
    return work.layers[-1].factors[0], work.remarks


@pytest.mark.parametrize(
    ('function', 'unit', 'mean', 'most'),
    [
        (lambda s: s, THIRD, 6 / 4, 3),
        (lambda s: s + s, THIRD, 12 / 4, 6),
        (lambda s: torch.cat([s, torch.zeros(1, 4)], 1)[:, 2:6], THIRD, 5 / 4, 3),
        (lambda s: s.flip(0).clone().reshape(1, 4).expand(5, 4), THIRD, 6 / 4, 3),
        (lambda s: s * 0.5, pytest.approx(1 / 6), 6 / 4, 3),
        (lambda s: s / 4, pytest.approx(1 / 12), 6 / 4, 3),
        (lambda s: s * s, pytest.approx(1 / 9), (0 + 1 + 4 + 9) / 4, 9),
        (lambda s: s + s * s, pytest.approx(1 / 9), (0 + 4 + 10 + 18) / 4, 18),
        (lambda s: 1 - s, THIRD, 6 / 4, 3),
        (lambda s: s.sum(1, keepdim=True).expand(1, 4), THIRD, 6, 6),
        (lambda s: s.mean(0, keepdim=True), THIRD, 6 / 4, 3),
        (lambda s: POOL(s[None, None]).flatten().repeat(2), THIRD, (1 + 3) / 2, 3),
        (lambda s: torch.zeros_like(s).copy_(s), THIRD, 6 / 4, 3),
    ],
    ids=[
        'spikes',
        'their sum',
        'joined',
        'rearranged',
        'times',
        'divided',
        'multiplied',
        'of two values',
        'what is not',
        'summed',
        'a mean of one',
        'maxima',
        'copied',
    ],
)
def test_numbers_of_spikes_stay_such(function, unit, mean, most):
    factor, _ = look(function)
    assert factor.kind == 'integer'
    assert (factor.unit, factor.mean, factor.most) == (unit, pytest.approx(mean), most)


@pytest.mark.parametrize(
    ('function', 'made_of'),
    [
        (lambda s: s.mean(1, keepdim=True).expand(1, 4), 'means of spikes'),
        (lambda s: s.mean(1, keepdim=True).mean(0).expand(1, 4), 'means of spikes'),
        (lambda s: s - 2 * s, 'differences of sums of spikes'),
        (lambda s: s + 0.3, 'spikes and constants'),
        (lambda s: s + torch.ones(4), 'spikes and constants'),
        (lambda s: s * torch.ones(4), 'spikes'),
        (lambda s: s * -1.0, 'spikes'),
        (lambda s: s + s * 0.7, 'spikes of several values'),
        (lambda s: s.tanh(), 'spikes'),
    ],
    ids=[
        'a mean',
        'means of means',
        'differences',
        'a fraction',
        'a tensor',
        'by channel',
        'negative',
        'two values',
        'a function',
    ],
)
def test_other_numbers_are_analogue(function, made_of):
    """Also where the values happen to be whole numbers of spikes, as behind a factor of 1."""
    factor, _ = look(function)
    assert (factor.kind, factor.made_of) == ('analogue', made_of)
    assert factor.unit is factor.mean is factor.most is None


@pytest.mark.parametrize(
    ('function', 'reason', 'folds'),
    [
        (lambda s: s * 0.125, 'scales spikes by a constant', True),
        (lambda s: s * torch.ones(4), 'scales spikes by a constant', True),
        (lambda s: s * s, 'multiplies two numbers of spikes', False),
        (lambda s: s.tanh(), 'computes aten.tanh of spikes', False),
        (
            lambda s: POOL((s + 0.3)[None, None]).flatten().repeat(2),
            'compares spikes and constants (a maximum)',
            False,
        ),
        (
            lambda s: nn.functional.layer_norm(s, (4,)),
            'normalises spikes, behind no layer to fold into',
            False,
        ),
    ],
)
def test_what_is_done_beside_additions_is_told(function, reason, folds):
    _, remarks = look(function)
    assert [(remark.name, remark.reason, remark.folds) for remark in remarks] == [
        ('', reason, folds)
    ]


@pytest.mark.parametrize(
    'function',
    [
        lambda s: s + s,
        lambda s: POOL(s[None, None]).flatten().repeat(2),
        # The one holds 0 and 1, and selects from the other
        lambda s: s[:, :2].repeat(1, 2) * s,
    ],
    ids=['a sum', 'maxima of spikes', 'a mask'],
)
def test_additions_and_masks_of_spikes_need_no_remark(function):
    _, remarks = look(function)
    assert remarks == []


def test_a_norm_folds_into_the_layer_in_front():
    norm = nn.BatchNorm1d(3).eval()
    layer = nn.Linear(4, 3)
    _, remarks = look(lambda s: norm(layer(s)), features=3)
    assert remarks == []
    _, remarks = look(lambda s: norm(layer(s) + layer(s)), features=3)
    assert [remark.reason for remark in remarks] == [
        'normalises sums of currents, behind no layer to fold into'
    ]


def test_numbers_are_found_where_all_values_are_such():
    third = torch.tensor(1 / 3)
    numbers = numbers_of_spikes(torch.stack([third, 2 * third, 0 * third]), 1 / 3)
    assert numbers.tolist() == [1, 2, 0]
    assert numbers_of_spikes(torch.tensor([0.5, 1.0]), 1.0) is None
    assert numbers_of_spikes(torch.tensor([-1.0, 1.0]), 1.0) is None
    assert numbers_of_spikes(torch.ones(2, dtype=torch.float16), 0.25).tolist() == [4, 4]
