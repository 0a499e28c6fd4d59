"""The drawing of a network's parts is what its modules did when it ran."""

import pytest
import torch
from mmengine.registry import MODELS
from zoo import distinct_architectures

from mmqkformer.analysis.block_figure import Unit, chains_of, draw_blocks
from mmqkformer.models.archs import expand_arch
from mmqkformer.models.shrink import shrink


def small(name, width=32):
    """The architecture's graph, narrow."""
    stages = shrink(expand_arch(name), width)
    in_channels = 2 if name.endswith(('-2-256', '-dvs', '-gesture')) else 3
    return MODELS.build(dict(type='SpikingBackbone', stages=stages, in_channels=in_channels))


def layers(chain):
    return [[unit.layers for unit in level] for level in chain.levels]


def test_a_membranes_branches():
    parts = chains_of(small('sdt-v1-8-384'))
    (embedding,), (attention, mlp) = parts
    assert list(parts.values()) == [['embedding 1'], ['block of stage 1']]
    projection = ('conv 1 x 1', 'batch norm', 'LIF')
    assert attention.residual == mlp.residual == 'membrane'
    assert layers(attention) == [
        [('LIF',)],
        [projection] * 3,
        [('LIF, threshold 0.5',)],
        [('conv 1 x 1', 'batch norm')],
    ]
    assert [unit.name for unit in attention.levels[1]] == ['query', 'key', 'value']
    assert layers(mlp) == [
        [('LIF',)],
        [('conv 1 x 1, channels x 4', 'batch norm', 'LIF')],
        [('conv 1 x 1, channels x 0.25', 'batch norm')],
    ]
    # The membrane before the position's unit is added to what comes out of it
    assert embedding.shortcuts == ((4, Unit('shortcut', (), 'conv')),)
    assert layers(embedding)[4] == [('LIF', 'conv 3 x 3', 'batch norm')]
    assert layers(embedding)[0] == [('conv 3 x 3', 'batch norm', 'LIF', 'max pool 3, stride 2')]


def test_a_residual_on_spikes_and_a_shortcut_beside_two_units():
    parts = chains_of(small('hst-10-384', 384))
    assert list(parts.values()) == [
        ['embedding 1'],
        ['block of stage 1', 'block of stage 2'],
        ['embedding 2', 'embedding 3'],
        ['block of stage 3'],
    ]
    (stem,), (token, _), (embedding,), _ = parts
    assert [unit.name for unit in token.levels[0]] == ['key', 'query']
    assert layers(token)[-1] == [('LIF',)]
    shortcut = Unit('shortcut', ('conv 1 x 1, stride 2, channels x 2', 'batch norm', 'LIF'), 'conv')
    assert (stem.shortcuts, embedding.shortcuts) == (((1, shortcut),), ((0, shortcut),))


def test_where_cml_pools():
    def pools(name):
        ((embedding,), _) = chains_of(small(name))
        return [unit.layers[-2:] for level in embedding.levels for unit in level]

    pooled = ('LIF', 'max pool 3, stride 2'), ('max pool 3, stride 2', 'LIF')
    assert pools('spikformer-4-384')[-2] == pooled[0]
    assert pools('cml-spikformer-4-384')[-2] == pooled[1]


@pytest.mark.parametrize('name', distinct_architectures())
def test_every_architecture_is_drawn(name, tmp_path):
    backbone = small(name)
    state = {key: value.clone() for key, value in backbone.state_dict().items()}
    parts = chains_of(backbone)
    places = [place for places in parts.values() for place in places]
    stages = range(1, len(backbone.stages) + 1)
    assert {f'embedding {i}' for i in stages} <= set(places)
    assert len(places) == len(set(places))
    # Every convolution, norm and neuron that ran is in the picture
    figure = draw_blocks(backbone, name)
    texts = [text.get_text() for text in figure.axes[0].texts]
    drawn = [
        layer
        for c in parts
        for chain in c
        for level in chain.levels
        for u in level
        for layer in u.layers
    ]
    assert drawn
    assert set(drawn) <= set(texts)
    # The network is as it was
    assert backbone.training
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, state[key]), key
