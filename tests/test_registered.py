"""Everything that the package registers: documented, with shapes and every argument."""

import inspect
import re

import pytest
import torch
from mmengine.registry import DATA_SAMPLERS, HOOKS, MODELS, TRANSFORMS
from torch import nn

from mmqkformer.build import arguments_of
from mmqkformer.layers import SpikingBlock
from mmqkformer.models import ARCHITECTURES
from mmqkformer.neurons import SpikingNeuron, Surrogate


def ours(registry):
    return {
        name: part
        for name, part in sorted(registry.module_dict.items())
        if part.__module__.startswith('mmqkformer.')
    }


PARTS = ours(MODELS)
# Name and why no branch: what is built by name into a block has to keep the shape
NO_BRANCH = {'ConvEmbed': 'an embedding', 'PEDS': 'an embedding', 'PEDSStem': 'an embedding',
             'SPS': 'an embedding', 'PEDSNeck': 'a neck', 'SpikingClsHead': 'a head'}  # fmt: skip
ARGUMENTS = dict(num_heads=2, ratio=2.0)


def test_there_are_parts():
    assert len(PARTS) > 20


@pytest.mark.parametrize('name', PARTS)
def test_a_part_tells_shapes(name):
    assert re.search(r'\[(T|B|\.\.\.)[^\]]*\]', PARTS[name].__doc__), name


@pytest.mark.parametrize('registry', [MODELS, HOOKS, TRANSFORMS, DATA_SAMPLERS])
def test_every_argument_is_documented(registry):
    missing = []
    for name, part in ours(registry).items():
        documented = ''.join(
            cls.__doc__ or '' for cls in inspect.getmro(part) if cls.__module__.startswith('mmqk')
        )
        owner = next(cls for cls in inspect.getmro(part) if '__init__' in vars(cls))
        if not owner.__module__.startswith('mmqk'):
            continue  # the arguments of mmengine's or mmpretrain's class
        signature = inspect.signature(owner.__init__).parameters.values()
        named = [p.name for p in signature if p.kind is p.POSITIONAL_OR_KEYWORD]
        named.remove('self')
        missing += [f'{name}.{arg}' for arg in named if not re.search(rf'\b{arg}\b', documented)]
    assert missing == []


def branches():
    for name, part in PARTS.items():
        arguments = arguments_of(part)
        if {'embed_dims', 'norm_cfg'} <= arguments and name not in NO_BRANCH:
            yield name, {key: ARGUMENTS[key] for key in ARGUMENTS if key in arguments}


def test_what_is_left_out_exists():
    assert set(NO_BRANCH) <= set(PARTS)


@pytest.mark.parametrize(('name', 'arguments'), branches())
@pytest.mark.parametrize('residual', ['add', 'membrane', 'and', 'iand'])
@pytest.mark.parametrize('neuron', ['LIFNeuron', 'ILIFNeuron'])
def test_a_branch_keeps_the_shape_and_learns(name, arguments, residual, neuron):
    torch.manual_seed(0)
    block = SpikingBlock(
        8,
        [dict(type=name, residual=residual, **arguments)],
        neuron=dict(type=neuron),
        norm_cfg=dict(type='BN'),
        in_stream='spikes',
    )
    x = (torch.rand(3, 2, 8, 5, 7) < 0.5).float().requires_grad_()
    y = block(x)
    assert y.shape == x.shape
    y.sum().backward()
    assert [key for key, p in block.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('name', [n for n, p in PARTS.items() if issubclass(p, SpikingNeuron)])
def test_a_neuron_emits_multiples_of_its_unit(name):
    neuron = MODELS.build(dict(type=name))
    x = 4 * torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    counts = neuron(x) / neuron.unit
    assert torch.equal(counts, counts.round())
    assert (counts.min(), counts.max()) == (0, neuron.levels)
    alone = torch.stack([neuron(x[:, i : i + 1])[:, 0] for i in range(3)], 1)
    # Samples are independent, but for the flaw that one of them is there to reproduce
    assert torch.equal(alone * 1, neuron(x)) == (name != 'BatchLeakingNeuron')


@pytest.mark.parametrize('name', [n for n, p in PARTS.items() if issubclass(p, Surrogate)])
def test_a_surrogate_is_a_window_around_the_threshold(name):
    surrogate = MODELS.build(dict(type=name))
    u = torch.linspace(-3, 3, 601, dtype=torch.float64)
    slope = surrogate.derivative(u)
    torch.testing.assert_close(slope, slope.flip(0))
    assert slope.argmax() in range(200, 401)
    assert (slope >= 0).all()


@pytest.mark.parametrize('name', [name for name in ARCHITECTURES if '-' in name])
def test_an_architecture_builds_without_memory(name):
    with torch.device('meta'):
        backbone = MODELS.build(dict(type='SpikingBackbone', arch=name))
    assert all(isinstance(stage.embed, nn.Module) for stage in backbone.stages)
    assert len(backbone.strides) == len(backbone.channels) == len(backbone.depths)
