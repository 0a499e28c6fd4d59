"""Units and chains of them: every place of neuron and pool, shortcuts, equal steps, streams."""

import math

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmqkformer.layers import SpikingConv, merge_time, split_time

NEURON = dict(type='LIFNeuron', tau=2.0)
COMMON = dict(neuron=NEURON, norm_cfg=dict(type='BN'))


def stream(*shape, seed=0):
    """A membrane that fires now and then."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 3 * x


def build(**cfg):
    torch.manual_seed(0)
    layer = MODELS.build(dict(type='ConvEmbed', in_channels=4, embed_dims=8, **COMMON, **cfg))
    return layer.double().eval()


def pooled(x):
    return split_time(nn.MaxPool2d(3, 2, 1)(merge_time(x)), x.size(0))


def fired(x):
    return MODELS.build(NEURON)(x)


def currents(unit, x):
    return split_time(unit.norm(unit.conv(merge_time(x))), x.size(0))


ORDERS = {
    ('last', None): lambda u, x: fired(currents(u, x)),
    ('last', 'before_neuron'): lambda u, x: fired(pooled(currents(u, x))),
    ('last', 'after_neuron'): lambda u, x: pooled(fired(currents(u, x))),
    ('last', 'before_conv'): lambda u, x: fired(currents(u, pooled(x))),
    ('first', None): lambda u, x: currents(u, fired(x)),
    ('first', 'before_neuron'): lambda u, x: currents(u, fired(pooled(x))),
    ('first', 'after_neuron'): lambda u, x: currents(u, pooled(fired(x))),
    ('first', 'before_conv'): lambda u, x: currents(u, pooled(fired(x))),
    ('none', None): lambda u, x: currents(u, x),
    ('none', 'before_neuron'): lambda u, x: pooled(currents(u, x)),
    ('none', 'before_conv'): lambda u, x: currents(u, pooled(x)),
}


@pytest.mark.parametrize(('fire', 'pool'), ORDERS)
def test_a_unit_has_its_parts_in_the_order_of_the_table(fire, pool):
    torch.manual_seed(0)
    unit = SpikingConv(4, 8, fire=fire, pool=pool, **COMMON).double().eval()
    x = stream(3, 2, 4, 7, 10)
    expected = ORDERS[fire, pool](unit, x)
    assert torch.equal(unit(x), expected)
    assert expected.abs().sum() > 0
    assert unit.stride == (2 if pool else 1)


@pytest.mark.parametrize(('fire', 'pool'), ORDERS)
def test_equal_steps_are_computed_once_in_front_of_the_neuron(fire, pool):
    torch.manual_seed(0)
    unit = SpikingConv(4, 8, fire=fire, pool=pool, **COMMON).double().eval()
    batches, pooled_batches = [], []
    unit.conv.register_forward_hook(lambda module, args, y: batches.append(args[0].size(0)))
    if pool:
        unit.pool.register_forward_hook(
            lambda module, args, y: pooled_batches.append(args[0].size(0))
        )
    image = stream(2, 4, 7, 10)
    once, each = unit(image.expand(3, *image.shape)), unit(image.repeat(3, 1, 1, 1, 1))
    torch.testing.assert_close(once, each, rtol=0, atol=1e-12)
    # Behind a neuron that fires first the steps differ
    assert batches == [6 if fire == 'first' else 2, 6]
    behind = pool == 'after_neuron' or (fire, pool) == ('first', 'before_conv')
    assert not pool or pooled_batches == [6 if behind else 2, 6]


def test_a_unit_takes_groups_padding_stride_and_bias():
    unit = SpikingConv(4, 8, 4, stride=4, padding=0, groups=2, bias=True, norm_cfg=dict(type='BN'))
    assert unit(stream(2, 3, 4, 17, 9).float()).shape == (2, 3, 8, 4, 2)
    assert unit.conv.weight.shape == (8, 2, 4, 4)
    assert unit.conv.bias is not None


def test_identity_shortcut_on_the_membrane():
    """SDT-v1's position: ``y = m + BN(conv(SN(m)))``."""
    layer = build(
        units=[dict(channels=8, fire='none'), dict(fire='first', name='position')],
        shortcut='identity',
        shortcut_from=1,
        shortcut_on='membrane',
    )
    x = stream(3, 2, 4, 5, 6)
    m = currents(layer.convs[0], x)
    assert torch.equal(layer(x), currents(layer.position, fired(m)) + m)
    assert layer.stream == 'membrane'
    assert 'position.conv.weight' in layer.state_dict()


def test_one_neuron_fires_for_the_shortcut_and_the_chain():
    """Max-Former's: both start from the same spikes of the membrane that comes in."""
    layer = build(
        units=[dict(channels=6, pool='before_neuron'), dict(fire='none')],
        shortcut=dict(kernel_size=1, pool='before_neuron'),
        in_stream='membrane',
    )
    x = stream(3, 2, 4, 7, 6)
    s = fired(x)
    first, second = layer.convs
    y = currents(second, fired(pooled(currents(first, s))))
    assert torch.equal(layer(x), y + pooled(currents(layer.shortcut, s)))
    assert (layer.stream, layer.stride) == ('membrane', 2)


def test_convolution_shortcut_on_the_membrane():
    """MS-ResNet's first block of a stage."""
    layer = build(
        units=[dict(channels=8, stride=2, fire='first'), dict(fire='first')],
        shortcut='conv',
        shortcut_on='membrane',
        in_stream='membrane',
    )
    x = stream(3, 2, 4, 7, 6)
    y = currents(layer.convs[1], fired(currents(layer.convs[0], fired(x))))
    assert torch.equal(layer(x), y + currents(layer.shortcut, x))
    assert layer.neuron is None
    assert layer.shortcut.conv.stride == (2, 2)


@pytest.mark.parametrize(
    ('cfg', 'expected'),
    [
        (dict(units=[dict()]), 'spikes'),
        (dict(units=[dict(fire='none')]), 'membrane'),
        (dict(units=[dict(fire='first')]), 'membrane'),
        (dict(units=[dict()], shortcut='conv'), 'sums'),
        (dict(units=[dict(channels=8), dict()], shortcut='identity', shortcut_from=1), 'sums'),
        (dict(units=[dict()], shortcut=dict(fire='none')), 'membrane'),
        (dict(units=[dict(fire='none')], shortcut='conv'), 'membrane'),
        (
            dict(
                units=[dict(channels=8, fire='none'), dict()],
                shortcut='identity',
                shortcut_from=1,
                shortcut_on='membrane',
            ),
            'membrane',
        ),
    ],
)
def test_an_embedding_knows_what_leaves_it(cfg, expected):
    layer = build(**cfg)
    assert layer.stream == expected
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 10.0)
    y = layer(stream(4, 2, 4, 16, 17))
    values = set(y.unique().tolist())
    if expected == 'membrane':
        assert len(values) > 10
    else:
        assert values == ({0.0, 1.0} if expected == 'spikes' else {0.0, 1.0, 2.0})


def test_any_size():
    layer = build(
        units=[dict(channels=6, kernel_size=7, stride=2), dict(pool='after_neuron')],
        shortcut='conv',
    )
    for height, width in ((9, 16), (4, 5), (1, 33)):
        y = layer(stream(2, 3, 4, height, width))
        assert y.shape == (2, 3, 8, math.ceil(height / 4), math.ceil(width / 4))


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(units=[]), r'units=\[\]: expected at least one'),
        (dict(units=dict()), r'units=\{\}: expected a list'),
        (dict(units=[3]), r'units\[0\]=3: expected a dict'),
        (dict(units=[dict(kernel=3)]), r'units\[0\]\.kernel=3: a unit knows no such key'),
        (dict(units=[dict(stride=1.5)]), r'units\[0\]\.stride=1\.5: expected an integer'),
        (dict(units=[dict(), dict()]), r'units\[0\]\.channels=None: expected an integer'),
        (dict(units=[dict(channels=9)]), r'units\[0\]\.channels=9: expected 8'),
        (dict(units=[dict(groups=3)]), r'units\[0\]\.groups=3: expected a divisor'),
        (dict(units=[dict(fire='both')]), r"units\[0\]\.fire='both': expected 'last'"),
        (dict(units=[dict(pool='max')]), r"units\[0\]\.pool='max': expected"),
        (dict(units=[dict(bias='no')]), r"units\[0\]\.bias='no': expected True or False"),
        (dict(units=[dict(name='stream')]), r"units\[0\]\.name='stream': expected a new name"),
        (
            dict(units=[dict(fire='none', pool='after_neuron')]),
            r"units\[0\]\.pool='after_neuron': expected another",
        ),
        (
            dict(units=[dict(neuron=dict(type='LIFNeuron', tau=0.5))]),
            r'units\[0\]\.neuron\..*tau=0\.5: expected',
        ),
        (
            dict(units=[dict(neuron=dict(type='ReLU'))]),
            r"units\[0\]\.neuron\.type='ReLU': expected a SpikingNeuron",
        ),
        (dict(units=[dict()], shortcut_from=1), r'shortcut_from=1: expected an integer'),
        (dict(units=[dict()], shortcut='skip'), r"shortcut='skip': expected 'none'"),
        (dict(units=[dict()], shortcut='identity'), r"shortcut='identity': expected .* 4 to 8"),
        (
            dict(units=[dict(stride=2)], shortcut=dict(stride=1)),
            r'shortcut=.* has stride 1: expected 2',
        ),
        (
            dict(units=[dict(padding=0)], shortcut='conv'),
            r'units\[0\]=.*: expected an odd kernel_size k and padding',
        ),
        (
            dict(units=[dict(channels=8), dict()], shortcut='conv', shortcut_on='membrane'),
            r"shortcut_on='membrane': expected 'spikes'",
        ),
        (
            dict(units=[dict(fire='first')], shortcut='conv', in_stream='membrane'),
            r"shortcut_on='spikes': expected units\[0\]\.fire",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_path(cfg, message):
    with pytest.raises(ValueError, match=message):
        build(**cfg)
