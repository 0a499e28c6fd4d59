"""Every model of the configs with graded spikes, as one of binary spikes."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from networks import awaken
from test_deploy import spikes_of
from zoo import classifier_configs

from mmqkformer.deploy import expand_to_binary
from mmqkformer.models.shrink import shrink_classifier

ROOT = Path(__file__).parents[1]


def graded_models():
    """A config for each backbone whose neuron emits more than one spike a step."""
    models = {}
    for path in classifier_configs():
        backbone = Config.fromfile(ROOT / path).model.backbone
        if 'neuron' in backbone and MODELS.build(backbone.neuron).levels > 1:
            models.setdefault(str(backbone), path)
    return sorted(models.values())


@pytest.mark.parametrize('width', [64, pytest.param(None, marks=pytest.mark.slow, id='full')])
@pytest.mark.parametrize('path', graded_models())
def test_a_model_of_a_config_expands(path, width):
    cfg = Config.fromfile(ROOT / path).model.to_dict()
    torch.manual_seed(0)
    model = MODELS.build(shrink_classifier(cfg, width) if width else cfg).double()
    backbone = model.backbone
    shape = (backbone.in_channels, 37, 48)
    if backbone.in_channels == 2:
        shape = (backbone.time_steps, *shape)
    images = torch.randn(2, *shape, dtype=torch.float64)
    awaken(model, images)
    binary = expand_to_binary(model)
    expected, logits = spikes_of(model, images)
    found, same = spikes_of(binary, images)
    assert found.keys() == expected.keys()
    for name, spikes in expected.items():
        assert torch.equal(found[name], spikes), name
    torch.testing.assert_close(same, logits, rtol=0, atol=1e-12)
    assert (logits[0] - logits[1]).abs().max() > 1e-3
    # Two factors of each attention's product in pairs
    assert set(binary.maps.values()) == {4}
    assert set(binary.products.values()) == {16}
