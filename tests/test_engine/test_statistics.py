"""Statistics of BatchNorm for averaged weights: estimated alike every time, at nobody's expense."""

import random

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from processes import run_two_processes
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from mmqkformer.datasets.seeding import seeded
from mmqkformer.engine.statistics import (
    estimate_statistics,
    statistics_layers,
    subset_indices,
    subset_loader,
)
from mmqkformer.layers import RunningRate


class Points(Dataset):
    """Points of which the noise is drawn anew at every reading."""

    def __init__(self, size=40, noise=0.1):
        self.points = torch.randn(size, 2, generator=torch.Generator().manual_seed(1)) * 3 + 1
        self.noise = noise

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        noise = random.random() + np.random.rand() + torch.rand(2)
        return dict(inputs=self.points[index] + self.noise * noise)


class Network(BaseModel):
    """Two layers with statistics, one that is kept in evaluation mode and one out of reach."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 3)
        self.first, self.second = nn.BatchNorm1d(3), nn.BatchNorm1d(3, momentum=0.3)
        self.frozen, self.auxiliary = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
        self.dropout = nn.Dropout(0.5)
        with torch.no_grad():
            for layer in (self.first, self.second, self.frozen, self.auxiliary):
                layer.running_mean.fill_(7)
                layer.num_batches_tracked.fill_(5)

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, inputs, mode='tensor'):
        return self.frozen(self.second(self.dropout(self.first(self.fc(inputs)).relu())))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Network()


def loader(batch_size=8, **kwargs):
    return DataLoader(Points(**kwargs), batch_size=batch_size, shuffle=True)


def by_hand(model, batches):
    """Means over batches of the mean and of the unbiased variance, both layers."""
    statistics = []
    for x in batches:
        x = model.fc(x)
        first = [x.mean(0), x.var(0)]
        x = F.batch_norm(x, None, None, training=True, eps=model.first.eps).relu()
        statistics.append(torch.stack([*first, x.mean(0), x.var(0)]))
    return torch.stack(statistics).mean(0)


def found(model):
    layers = (model.first, model.second)
    return torch.stack([v for layer in layers for v in (layer.running_mean, layer.running_var)])


def test_the_statistics_are_the_means_of_those_of_the_batches(model):
    estimate_statistics(model, loader(noise=0), num_samples=24)
    points = Points().points[list(subset_indices(Points(), 24))]
    torch.testing.assert_close(found(model), by_hand(model, points.split(8)))
    assert not model.training


def test_what_training_does_not_update_is_left_alone(model):
    estimate_statistics(model, loader(), num_samples=24)
    for layer in (model.frozen, model.auxiliary):
        assert layer.running_mean.tolist() == [7, 7, 7]
        assert layer.running_var.tolist() == [1, 1, 1]
    assert [layer.momentum for layer in (model.first, model.second)] == [0.1, 0.3]
    layers = (model.first, model.second, model.frozen, model.auxiliary)
    assert [layer.num_batches_tracked for layer in layers] == [5] * 4


def test_layers_kept_in_evaluation_mode_and_without_statistics_are_skipped(model):
    model.stateless = nn.BatchNorm1d(3, track_running_stats=False)
    model.synchronised = nn.SyncBatchNorm(3)
    assert statistics_layers(model) == [
        model.first, model.second, model.auxiliary, model.synchronised,
    ]  # fmt: skip


def test_a_running_rate_becomes_the_mean_of_those_of_the_batches(model):
    model.rate, model.unused = RunningRate(3), RunningRate(3)
    model.unused.rate.fill_(0.7)
    seen = []

    def fire(module, args, y):
        spikes = (y > 0).float()
        seen.append(spikes.mean(0))
        model.rate(spikes[None, :, :, None, None])

    model.second.register_forward_hook(fire)
    estimate_statistics(model, loader(noise=0), num_samples=24)
    assert len(seen) == 3
    torch.testing.assert_close(model.rate.rate.flatten(), torch.stack(seen).mean(0))
    assert model.rate.momentum == 0.001
    assert model.unused.rate.flatten().tolist() == pytest.approx([0.7] * 3)


def test_a_model_without_statistics_reads_no_data(model):
    class Unread(Points):
        def __getitem__(self, index):
            raise AssertionError('read')

    model.first = model.second = model.auxiliary = nn.Identity()
    estimate_statistics(model, DataLoader(Unread(), batch_size=8), num_samples=24)


@pytest.mark.parametrize('workers', [0, 2])
def test_every_estimate_has_the_same_samples_and_the_same_augmentation(model, workers):
    training = DataLoader(Points(), batch_size=8, shuffle=True, num_workers=workers)
    estimate_statistics(model, training, num_samples=24)
    once = found(model)
    torch.rand(3), np.random.rand(3), random.random()
    estimate_statistics(model, training, num_samples=24)
    assert torch.equal(once, found(model))


def test_the_generators_go_on_as_if_there_had_been_no_estimate(model):
    def draws():
        return random.random(), np.random.rand(), torch.rand(3).tolist()

    with seeded(1, 2):
        expected = draws()
    with seeded(1, 2):
        estimate_statistics(model, loader(), num_samples=24)
        assert draws() == expected


def test_the_trainings_loader_goes_on_where_it_was(model):
    training = DataLoader(
        Points(noise=0), batch_size=8, num_workers=1, persistent_workers=True, shuffle=False
    )
    batches = iter(training)
    first = next(batches)['inputs']
    estimate_statistics(model, training, num_samples=16)
    rest = [batch['inputs'] for batch in batches]
    assert torch.equal(torch.cat([first, *rest]), Points().points)


@pytest.mark.parametrize(
    ('asked', 'batch_size', 'batches'),
    [(24, 8, 3), (30, 8, 3), (1000, 8, 5), (5, 8, 1), (1, 8, 1)],
)
def test_whole_batches_of_at_most_the_data_set(asked, batch_size, batches):
    subset = subset_loader(loader(batch_size), asked)
    assert len(subset) == batches
    assert all(len(batch['inputs']) == min(batch_size, asked) for batch in subset)


def one_of_two_processes(rank, folder):
    torch.manual_seed(0)
    model = Network()
    torch.manual_seed(rank)
    estimate_statistics(model, loader(noise=0), num_samples=32)
    torch.save(found(model), folder / f'{rank}.pt')
    torch.save(list(map(int, subset_indices(Points(), 32))), folder / f'{rank}-indices.pt')


def test_processes_divide_the_samples_and_share_the_result(model, tmp_path):
    run_two_processes(one_of_two_processes, tmp_path)
    mine, other = (torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1))
    assert torch.equal(mine, other)
    first, second = (torch.load(tmp_path / f'{rank}-indices.pt') for rank in (0, 1))
    assert first + second == list(subset_indices(Points(), 32))
    points = Points().points[first + second]
    torch.testing.assert_close(mine, by_hand(model, points.split(8)))
