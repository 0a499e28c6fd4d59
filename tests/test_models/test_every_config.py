"""Every model of the configs: one forward pass, any size, logits that ignore the batch."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from networks import awaken

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(
    path.relative_to(ROOT).as_posix()
    for family in ('qkformer', 'spikformer')
    for path in (ROOT / 'configs' / family).rglob('*.py')
)


def build(path):
    """The config's model, awake, and images or frames of an odd, non-square size."""
    cfg = Config.fromfile(ROOT / path).model
    torch.manual_seed(0)
    model = MODELS.build(cfg).double()
    stride = model.backbone.strides[-1]
    generator = torch.Generator().manual_seed(0)
    size = (model.backbone.in_channels, 2 * stride + 5, 4 * stride - 1)
    if model.backbone.in_channels == 2:
        size = (model.backbone.time_steps, *size)
    images = torch.randn(4, *size, dtype=torch.float64, generator=generator)
    return awaken(model, images), images


def test_there_are_configs():
    assert len(CONFIGS) > 20


def one_of_each_model(paths):
    """Without configs that give the same model other data."""
    models = {}
    for path in paths:
        models.setdefault(str(Config.fromfile(ROOT / path).model), path)
    return sorted(models.values())


@pytest.mark.parametrize('path', one_of_each_model(CONFIGS))
def test_logits_of_a_sample_do_not_depend_on_the_batch(path):
    model, images = build(path)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        together = model(images)
        shuffled = model(images[order])
        alone = torch.cat([model(image[None]) for image in images])
    assert together.shape == (4, model.head.num_classes)
    assert (together[0] - together[1]).abs().max() > 1e-6
    if model.backbone.stages[-1].blocks[0].leaks:
        # The release's behaviour, on request: the neighbours show
        assert (together[1:] - alone[1:]).abs().max() > 1e-6
    else:
        torch.testing.assert_close(alone, together, rtol=0, atol=1e-9)
        torch.testing.assert_close(shuffled, together[order], rtol=0, atol=1e-9)
