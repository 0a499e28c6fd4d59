"""What neighbours change: counted by hand, and nothing per sample."""

import copy

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.data import DataLoader

from mmqkformer.analysis import (
    BatchRow,
    Recovery,
    awaken,
    batch_independence,
    recover,
    with_batch_leak,
)
from mmqkformer.analysis.batch_figure import draw_batches
from mmqkformer.analysis.batch_independence import accuracy_of, orders_of
from mmqkformer.neurons import BatchLeakingNeuron, IFNeuron


class Samples(list):
    """A data set as mmpretrain's: images and labels."""

    def __init__(self, images, labels):
        super().__init__(
            dict(inputs=image, data_samples=DataSample().set_gt_label(label))
            for image, label in zip(images, labels)
        )


class Rate(nn.Module):
    """Logits: the rate of an integrate-and-fire neuron over ``steps``, and a threshold of 0.4."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.neuron = BatchLeakingNeuron(dict(type='IFNeuron'))
        self.shift = nn.Parameter(torch.tensor(0.4))

    def data_preprocessor(self, batch, training):
        return batch

    def forward(self, x, mode):
        rate = self.neuron(x.expand(self.steps, *x.shape)).mean(0)
        return torch.cat([rate, self.shift.expand_as(rate)], dim=1)


# Each alone reaches the threshold of 1 at the second step only: a rate of 1/2, class 0
SAME = Samples([torch.tensor([0.6])] * 4, [1, 0, 1, 0])


def rows_of(model, dataset, sizes):
    rows = batch_independence(model.eval(), dataset, sizes)
    return {(row.behaviour, row.order, row.batch_size): row for row in rows}


def test_the_leak_is_as_counted_by_hand():
    """In pairs, membranes 0.6, 1.2: the first never fires, the second at both of its steps.

    Per class, (0, 0) and (1, 1): one of each pair is right. In a batch of three the sequence is
    0.6, 1.2, 0.6 and then, from the last to the first, 1.2, 0.6, 1.2: each fires once, as alone.
    """
    rows = rows_of(Rate(steps=2), SAME, [2, 3, 9])
    assert set(rows) == {(b, 'any', 1) for b in ('leaky', 'per sample')} | {
        (b, order, size)
        for b in ('leaky', 'per sample')
        for order in ('sorted', 'reversed', 'shuffled')
        for size in (2, 3, 4)
    }
    apart = dict(accuracy=50.0, changed=0, largest=0.0, mean=0.0)
    for (behaviour, order, size), row in rows.items():
        leaks = behaviour == 'leaky' and size in (2, 4)
        if not leaks:
            assert row == BatchRow(behaviour, order, size, **apart)
        else:
            # Of two logits one differs by 1/2; every first of a pair becomes class 1
            assert (row.changed, row.largest, row.mean) == (2, 0.5, 0.25)
    assert rows['leaky', 'sorted', 2].accuracy == 50.0


def test_the_order_decides_what_a_leaky_network_says():
    """Class 0 has currents of 0.6 and class 1 of 0.3, at one step: alone none ever fires.

    By class in one batch: 0.6, 1.2 fires, 0.3, 0.6. From the end: 0.3, 0.6, 1.2 fires, 0.6. In
    pairs the leak never gets from a class to the other: 0.6, 1.2 fires; 0.3, 0.6.
    """
    dataset = Samples(torch.tensor([[0.6], [0.3], [0.6], [0.3]]), [0, 1, 0, 1])
    rows = rows_of(Rate(steps=1), dataset, [2, 4])
    assert rows['leaky', 'any', 1].accuracy == rows['per sample', 'sorted', 4].accuracy == 50.0
    for order in ('sorted', 'reversed'):
        for size in (2, 4):
            row = rows['leaky', order, size]
            assert (row.accuracy, row.changed, row.largest) == (75.0, 1, 1.0)


def test_orders_are_by_class_its_reverse_and_of_the_seed():
    labels = torch.tensor([2, 0, 1, 0, 2])
    orders = orders_of(labels, seed=3)
    assert orders['sorted'].tolist() == [1, 3, 2, 0, 4]
    assert orders['reversed'].tolist() == [4, 0, 2, 3, 1]
    assert sorted(orders['shuffled'].tolist()) == [0, 1, 2, 3, 4]
    assert torch.equal(orders['shuffled'], orders_of(labels, seed=3)['shuffled'])
    assert any(
        not torch.equal(orders['shuffled'], orders_of(labels, seed=s)['shuffled']) for s in (4, 5)
    )


def classifier(attention='SpikingSelfAttention', residual='add', **backbone):
    arch = dict(
        embed_dims=[16, 16],
        depths=[1, 1],
        num_heads=[2, 2],
        mlp_ratios=[1, 1],
        attentions=['QKTokenAttention', attention],
        stem=dict(channels=[8, 16], pools=[False, False], shortcut_from=1),
        pool='first',
    )
    neuron = dict(type='PLIFNeuron', init_tau=1.7)
    cfg = dict(
        type='ImageClassifier',
        backbone=dict(type='QKFormer', arch=arch, time_steps=2, neuron=neuron, residual=residual,
                      **backbone),
        head=dict(type='SpikingClsHead', num_classes=3, in_channels=16),
        data_preprocessor=dict(num_classes=3, mean=[127.5] * 3, std=[60.0] * 3),
    )  # fmt: skip
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(cfg).eval()


@pytest.fixture(scope='module')
def images():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 12).tolist()
    return Samples(torch.from_numpy(random.integers(0, 256, (12, 3, 8, 8), np.uint8)), labels)


@pytest.fixture(scope='module')
def awake(images):
    model = classifier()
    inputs = torch.stack([sample['inputs'] for sample in images])
    awaken(model.backbone, model.data_preprocessor(dict(inputs=inputs), False)['inputs'])
    return model.double()


def test_per_sample_nothing_depends_on_the_batch_and_leaky_it_does(awake, images):
    for (behaviour, _, size), row in rows_of(awake, images, [2, 5, 12]).items():
        if behaviour == 'per sample' or size == 1:
            assert row.changed == 0
            assert row.largest < 1e-12
        else:
            assert row.largest > 1e-3


def test_the_twin_is_the_network_that_the_config_builds(awake):
    """With the same weights, a time constant that is learnt among them; the model stays."""
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    leaky = classifier(release_batch_leak=True).double()
    leaky.load_state_dict(awake.state_dict(), strict=False)  # its reading renames the neuron
    before = copy.deepcopy(awake.state_dict())
    with torch.no_grad():
        apart, together = awake(x), leaky(x)
        assert not torch.equal(apart, together)
        assert torch.equal(with_batch_leak(awake, True)(x), together)
        assert torch.equal(with_batch_leak(leaky, False)(x), apart)
        assert torch.equal(with_batch_leak(leaky, True)(x), together)
        assert torch.equal(with_batch_leak(awake, False)(x), apart)
    assert with_batch_leak(leaky, False).state_dict().keys() == before.keys()
    assert all(torch.equal(before[k], v) for k, v in awake.state_dict().items())


@pytest.mark.parametrize(
    'model',
    [
        dict(attention='QKTokenAttention'),
        dict(residual='membrane'),
    ],
)
def test_a_network_without_a_place_for_the_leak_is_refused(model):
    with pytest.raises(ValueError, match="no spiking self attention with residual='add'"):
        with_batch_leak(classifier(**model), True)


def test_what_comes_back_is_counted():
    recovery = Recovery({'as it is': 60.0, 'statistics re-estimated': 65.0}, target=80.0)
    assert recovery.share('as it is') == 0
    assert recovery.share('statistics re-estimated') == 0.25
    assert Recovery({'as it is': 60.0}, target=60.0).share('as it is') is None


def test_wrong_statistics_come_back_and_the_model_stays(awake, images):
    """Norms whose statistics are wrong make a constant of the network; estimated, they do not."""
    model = copy.deepcopy(awake).float()
    inputs = torch.stack([sample['inputs'] for sample in images])
    with torch.no_grad():
        logits = model(model.data_preprocessor(dict(inputs=inputs), False)['inputs'])
    labelled = Samples(inputs, logits.argmax(1).tolist())
    assert accuracy_of(model, labelled, 4) == 100
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d)):
        norm.running_mean.fill_(1e4)
    broken = copy.deepcopy(model.state_dict())
    loader = DataLoader(labelled, 12, collate_fn=default_collate)
    recovery = recover(model, labelled, loader, target=100.0, num_samples=12)
    assert recovery.steps['as it is'] < 70
    assert recovery.steps['statistics re-estimated'] > recovery.steps['as it is']
    assert all(torch.equal(broken[k], v) for k, v in model.state_dict().items())


def test_a_head_that_was_lost_is_fine_tuned(awake, images):
    """Per sample and with the given optimizer; the rate falls to 0, and the model stays."""
    model = copy.deepcopy(awake).float()
    nn.init.zeros_(model.head.fc.weight)
    model.head.fc.bias.data = torch.tensor([1.0, 0.0, 0.0])
    ours = Samples([sample['inputs'] for sample in images], [1] * 6 + [2] * 6)
    loader = DataLoader(ours, 6, sampler=DefaultSampler(ours), collate_fn=default_collate)
    made = []

    def optim_wrapper_of(network):
        assert not any(isinstance(part, BatchLeakingNeuron) for part in network.modules())
        made.append(OptimWrapper(torch.optim.AdamW(network.parameters(), lr=0.1)))
        return made[0]

    recovery = recover(with_batch_leak(model, True), ours, loader, 100.0, 12, 10, optim_wrapper_of)
    assert recovery.steps['statistics re-estimated'] == 0
    assert recovery.steps['fine-tuned'] >= 50
    assert made[0].get_lr()['lr'] == [pytest.approx(0.0)]
    assert not model.head.fc.weight.any()


def test_it_is_drawn():
    rows = batch_independence(Rate(steps=2).eval(), SAME, [2, 4])
    figure = Figure()
    draw_batches(figure, rows)
    accuracy, difference = figure.axes
    assert len(accuracy.lines) == len(difference.lines) == 6
    assert list(accuracy.lines[0].get_xdata()) == [1, 2, 4]
    assert list(difference.lines[0].get_ydata()) == [0, 0.25, 0.25]
    assert IFNeuron is type(with_batch_leak(Rate(2), False).neuron)
