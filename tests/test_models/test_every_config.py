"""Every model of the configs: a forward pass, any size, spikes and logits that ignore the batch."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from networks import awaken
from zoo import classifier_configs

from mmqkformer.analysis import compare_with_batch_of_one
from mmqkformer.models.shrink import shrink_classifier
from mmqkformer.neurons import BatchLeakingNeuron

ROOT = Path(__file__).parents[2]
CONFIGS = classifier_configs()


def build(path, width=None):
    """The config's model, of a width or its own, awake, and images or frames of an odd size."""
    cfg = Config.fromfile(ROOT / path).model.to_dict()
    if width:
        cfg = shrink_classifier(cfg, min(width, cfg['head']['in_channels']))
    torch.manual_seed(0)
    model = MODELS.build(cfg).double()
    stride = model.backbone.strides[-1]
    if width:
        # What leaks shows in few steps, too; networks for events have up to 16
        few = 4 if stride < 64 else 2
        model.backbone.time_steps = min(model.backbone.time_steps, few)
    generator = torch.Generator().manual_seed(0)
    # Frames of the largest stride would take a minute
    height, width = (2 * stride + 5, 4 * stride - 1) if stride < 64 else (stride + 5, stride + 3)
    size = (model.backbone.in_channels, height, width)
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


@pytest.mark.parametrize('width', [128, pytest.param(None, marks=pytest.mark.slow, id='full')])
@pytest.mark.parametrize('path', one_of_each_model(CONFIGS))
def test_a_sample_does_not_depend_on_the_batch(path, width):
    """In float64: not one spike of any neuron, and the logits within 1e-12."""
    model, images = build(path, width)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        together = model(images)
        shuffled = model(images[order])
    assert together.shape == (4, model.head.num_classes)
    assert (together[0] - together[1]).abs().max() > 1e-6
    difference = compare_with_batch_of_one(model, images)
    assert difference.spikes > 1e4
    if any(isinstance(module, BatchLeakingNeuron) for module in model.modules()):
        # The release's behaviour, on request: the neighbours show
        assert difference.flips > 0
        assert difference.logits > 1e-6
    else:
        assert difference.flips == 0
        assert difference.logits < 1e-12
        torch.testing.assert_close(shuffled, together[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    'path',
    [
        'configs/qkformer/hst-10-384_8xb64_in1k.py',
        'configs/qkformer/hst-4-384_1xb64_cifar100.py',
        'configs/qkformer/hst-2-256-t10_1xb16_dvs128.py',
    ],
)
def test_in_float32_a_batch_of_one_gives_the_same_bits(path):
    """Whatever was evaluated in between: other images, and the image in other batches."""
    model, images = build(path)
    model, images = model.float(), images.float()
    with torch.no_grad():
        first = [model(image[None]) for image in images]
        model(images)
        model(images.flip(0)[:3])
        again = [model(image[None]) for image in images.flip(0)][::-1]
    for logits, repeated in zip(first, again):
        assert torch.equal(logits, repeated)
