"""Counting what another form of a network fires differently."""

import pytest
import torch
from torch import nn

from mmqkformer.deploy import spike_flips
from mmqkformer.neurons import IFNeuron


def network(shift=0.0):
    """Sums of steps that reach 1 fire: of 0.4 a step, at the third."""
    model = nn.Sequential(nn.Identity(), IFNeuron())
    model[0].forward = lambda x: x + shift
    return model


def test_spikes_that_differ_are_counted():
    x = torch.full((3, 2, 1), 0.4)
    same = spike_flips(network(), network(), lambda model: model(x))
    assert (same.flips, same.outputs, same.difference) == (0, 6, 0.0)
    # 0.5 a step fires at the second: two steps of both neurons differ
    other = spike_flips(network(), network(0.1), lambda model: model(x).sum(0))
    assert (other.flips, other.outputs, other.difference) == (4, 6, 0.0)
    assert str(other).startswith('4 of 6 outputs of neurons differ (6.67e-01)')


def test_other_neurons_are_named():
    other = nn.Sequential(nn.Identity(), nn.Sequential(IFNeuron()))
    with pytest.raises(ValueError, match=r"neurons \['1', '1.0'\]: expected in both"):
        spike_flips(network(), other, lambda model: model(torch.zeros(2, 1)))
