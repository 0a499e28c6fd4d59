"""A small model of every family compiles to one graph and exports, whatever leaves it."""

import pytest
import torch
from mmengine.registry import MODELS
from networks import awaken

from mmqkformer.models import ARCHITECTURES
from mmqkformer.models.archs import expand_arch
from mmqkformer.models.shrink import shrink

FAMILIES = [name for name in ARCHITECTURES if '-' not in name]
# The one has a stream of sums, the other of membranes
TWO = ('hst', 'ms_qkformer')


def small(family):
    function = ARCHITECTURES[family]
    sizes = (n for n, f in ARCHITECTURES.items() if getattr(f, 'func', None) is function)
    return shrink(expand_arch(next(sizes)), 64)


def build(family, out, **kwargs):
    torch.manual_seed(0)
    cfg = dict(type='SpikingBackbone', stages=small(family), time_steps=2, out=out, **kwargs)
    model = MODELS.build(cfg).double()
    side = max(32, model.strides[-1])
    images = torch.randn(2, 3, side + 3, side, dtype=torch.float64)
    return awaken(model, images), images


def plain(outputs):
    return [x.as_subclass(torch.Tensor) for x in outputs]


# What leaves a backbone is the graph's last operation: rates of all, the others of two in the suite
@pytest.mark.parametrize(
    ('family', 'out'),
    [
        pytest.param(
            family, out, marks=[pytest.mark.slow] if out != 'rates' and family not in TWO else []
        )
        for family in FAMILIES
        for out in ('rates', 'spikes', 'stream')
    ],
)
def test_one_graph_and_an_export(family, out):
    # A stream that is a membrane, of the family that has one
    residual = dict(residual='membrane') if (family, out) == ('hst', 'stream') else {}
    model, images = build(family, out, **residual)
    torch.compiler.reset()
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    with torch.no_grad():
        expected = plain(model(images))
        assert expected[0].abs().sum() > 0
        exported = torch.export.export(model, (images,)).module()
        for run in (compiled, exported):
            for found, wanted in zip(plain(run(images)), expected, strict=True):
                assert torch.equal(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES[:2])
def test_inductor_computes_the_same(family):
    model, images = build(family, 'stream')
    torch.compiler.reset()
    with torch.no_grad():
        found = plain(torch.compile(model, fullgraph=True)(images))
        for value, wanted in zip(found, plain(model(images)), strict=True):
            torch.testing.assert_close(value, wanted, rtol=0, atol=1e-12)
