"""Spikes and feature maps that are recorded are the neurons' and the stages'."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmqkformer.analysis import below, record_rasters, record_stage_maps, recording
from mmqkformer.models.backbones.spiking_backbone import SpikingStage


class Tenths(nn.Module):
    """Two layers of neurons that fire at once where a current is at least 1."""

    def __init__(self, **graded):
        super().__init__()
        neuron = dict(type='IFNeuron', v_threshold=1.0)
        self.first = nn.ModuleDict(dict(neuron=MODELS.build(neuron)))
        self.second = MODELS.build(graded or neuron)

    def forward(self, x):
        return self.second(self.first['neuron'](x) * 3)


def test_a_raster_is_the_spikes_of_one_sample():
    x = torch.zeros(2, 2, 3, 1, 2)
    x[0, 1, 2, 0, 1] = x[1, 1, 0, 0, 0] = x[1, 1, 1, 0, 0] = 1.0
    x[:, 0] = 1.0
    model = Tenths()
    rasters = record_rasters(model, lambda: model(x), 'first', sample=1)
    assert list(rasters) == ['first.neuron']
    raster = rasters['first.neuron']
    assert raster.spikes.tolist() == [[0, 0, 0, 0, 0, 1], [1, 0, 1, 0, 0, 0]]
    assert (raster.neurons, raster.levels) == (6, 1)
    assert torch.allclose(raster.rate, torch.tensor([1 / 6, 2 / 6]))


def test_neurons_that_are_shown_are_evenly_spaced_and_the_rate_is_of_all():
    x = torch.zeros(1, 1, 101)
    x[0, 0, [0, 50, 100, 7]] = 1.0
    model = Tenths()
    (raster,) = record_rasters(model, lambda: model(x), 'first', most=3).values()
    assert raster.spikes.tolist() == [[1, 1, 1]]
    assert raster.neurons == 101
    assert float(raster.rate) == pytest.approx(4 / 101)


def test_graded_spikes_are_counted():
    model = Tenths(type='ILIFNeuron', levels=4, normalize=True)
    rasters = record_rasters(model, lambda: model(torch.ones(1, 1, 2)), 'second')
    raster = rasters['second']
    assert raster.levels == 4
    assert model.second.unit == 0.25
    assert raster.spikes.tolist() == [[3, 3]]
    assert raster.rate.tolist() == [3]


def test_layers_without_neurons_are_refused():
    model = Tenths()
    with pytest.raises(ValueError, match="layer='third': expected a name of layers of neurons"):
        record_rasters(model, lambda: None, 'third')


@pytest.mark.parametrize(
    ('pattern', 'matches'),
    [
        ('*', True),
        ('stages.1', True),
        ('stages.1.*', True),
        ('*.attention', True),
        ('*_neuron', True),
        ('stages', True),
        ('stages.1.blocks.0.attention.mask_neuron', True),
        ('stages.0', False),
        ('attention', False),
        ('stages.1.block', False),
    ],
)
def test_patterns_of_layers(pattern, matches):
    assert below('stages.1.blocks.0.attention.mask_neuron', pattern) is matches


@pytest.mark.parametrize('residual', ['add', 'membrane'])
def test_stage_maps_are_means_over_channels(residual):
    torch.manual_seed(0)
    stage = dict(embed=dict(type='ConvEmbed', units=[dict(kernel_size=3)]), channels=8, depth=0)
    model = MODELS.build(
        dict(type='SpikingBackbone', stages=[stage, stage], time_steps=3, residual=residual)
    ).eval()
    x = torch.randn(2, 3, 4, 5)
    with torch.no_grad(), recording(model, SpikingStage) as outputs:
        model(x)
    maps = record_stage_maps(model, lambda: model(x))
    assert list(maps) == ['stages.0', 'stages.1']
    for name, found in maps.items():
        assert found.stream == model.get_submodule(name).stream
        assert found.mean.shape == (3, 2, 4, 5)
        by_hand = sum(outputs[name][0][:, :, channel] for channel in range(8)) / 8
        assert torch.allclose(found.mean, by_hand)
