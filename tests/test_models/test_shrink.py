"""Every architecture, narrow and shallow: the same graph, sample by sample, and it learns."""

import copy

import pytest
import torch
from mmengine.registry import MODELS
from networks import awaken
from zoo import distinct_architectures

from mmqkformer.models import ARCHITECTURES
from mmqkformer.models.archs import expand_arch
from mmqkformer.models.shrink import shrink

SIZES = sorted(name for name in ARCHITECTURES if '-' in name)


def build(stages):
    torch.manual_seed(0)
    return MODELS.build(dict(type='SpikingBackbone', stages=stages, time_steps=2, out='stream'))


def kinds(backbone):
    """Classes of the modules in their order, one block a stage."""
    return [
        [type(module) for part in (stage.embed, *stage.blocks[:1]) for module in part.modules()]
        for stage in backbone.stages
    ]


@pytest.mark.parametrize('name', SIZES)
def test_it_is_the_same_graph(name):
    stages = expand_arch(name)
    before = copy.deepcopy(stages)
    small = shrink(stages, 32)
    assert stages == before
    with torch.device('meta'):
        assert kinds(build(small)) == kinds(build(stages))
    assert small[-1]['channels'] == 32
    assert {stage['depth'] for stage in small} <= {0, 1}


@pytest.mark.parametrize('name', distinct_architectures())
def test_it_runs_and_learns(name):
    backbone = build(shrink(expand_arch(name), 32)).double()
    stride = backbone.strides[-1]
    # Of the largest stride, two cells a side would take half a minute
    side = 2 * stride if stride < 64 else stride
    images = torch.randn(3, 3, side, side + 3, dtype=torch.float64)
    awaken(backbone, images)
    if name.endswith('-and'):
        # A spike has to pass every block
        for norm in backbone.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.bias.data += 2.0
    with torch.no_grad():
        (together,) = backbone(images)
        alone = torch.cat([backbone(image[None])[0] for image in images], dim=1)
    assert together.abs().sum() > 0
    torch.testing.assert_close(alone.as_subclass(torch.Tensor), together.as_subclass(torch.Tensor))
    (backbone.train()(images)[0] ** 2).sum().backward()
    assert [key for key, p in backbone.named_parameters() if p.grad is None] == []


def test_deeper_and_wider_on_request():
    small = shrink(expand_arch('hst-10-384'), 96, depth=2)
    assert [stage['depth'] for stage in small] == [1, 2, 2]
    assert [stage['channels'] for stage in small] == [24, 48, 96]
    assert [stage['block']['attention']['num_heads'] for stage in small] == [6, 6, 6]


@pytest.mark.parametrize(('arguments', 'key'), [((4,), 'width'), ((32, 0), 'depth')])
def test_nonsense_is_refused(arguments, key):
    with pytest.raises(ValueError, match=f'^{key}='):
        shrink(expand_arch('hst-10-384'), *arguments)
