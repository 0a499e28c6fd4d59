"""A batch against its samples one by one: every spike is compared."""

import torch
from torch import nn

from mmqkformer.analysis import BatchDifference, compare_with_batch_of_one
from mmqkformer.neurons import IFNeuron, ILIFNeuron


class Backbone(nn.Module):
    """Two steps of an IF neuron; with ``meets`` a sample receives its neighbour's input too."""

    time_steps = 2

    def __init__(self, meets, neuron):
        super().__init__()
        self.meets = meets
        self.neuron = neuron

    def forward(self, x):
        x = x + x.roll(1, 0) * (len(x) > 1) if self.meets else x
        return self.neuron(x.expand(2, *x.shape))


class Classifier(nn.Module):
    def __init__(self, meets, neuron=None):
        super().__init__()
        self.backbone = Backbone(meets, neuron or IFNeuron())

    def forward(self, x):
        return self.backbone(x).mean(0) * 10


def test_flips_and_logits_are_counted():
    """0.6 fires at step 2, and at both steps with the neighbour's 1.2 or 0.6 added."""
    x = torch.tensor([[0.6, 0.0], [1.2, 0.0]])
    assert compare_with_batch_of_one(Classifier(False), x) == BatchDifference(
        spikes=8, flips=0, logits=0.0, largest_logit=10.0
    )
    assert compare_with_batch_of_one(Classifier(True), x) == BatchDifference(
        spikes=8, flips=1, logits=5.0, largest_logit=10.0
    )
    model = Classifier(True)
    compare_with_batch_of_one(model, x)
    assert not model.backbone.neuron._forward_hooks


def test_graded_spikes_flip_between_levels():
    """1.2 becomes 1.8 with the neighbour's 0.6: two spikes at the first step instead of one."""
    x = torch.tensor([[0.6, 0.0], [1.2, 0.0]])
    model = Classifier(True, ILIFNeuron(decay=0.0))
    assert compare_with_batch_of_one(model, x).flips == 4
