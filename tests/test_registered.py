"""Everything that the package registers: documented, with shapes and every argument."""

import inspect
import math
import re

import pytest
import torch
from mmengine.registry import DATA_SAMPLERS, HOOKS, MODELS, TRANSFORMS
from torch import nn

from mmqkformer.build import arguments_of, build, parameters_of
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
COMMON = dict(neuron=dict(type='LIFNeuron'), norm_cfg=dict(type='BN'))
UNITS = [dict(channels=4, stride=2), dict(pool='before_neuron')]
# What the parts need, by name
NEEDED = dict(in_channels=4, out_channels=8, embed_dims=8, num_heads=2, num_classes=3, widths=[8],
              units=UNITS, channels=[4, 8], pools=[False, True], shortcut_from=1,
              **COMMON)  # fmt: skip
STAGE = dict(embed=dict(type='PEDS'), block=[dict(type='SpikingMLP')], channels=8, depth=1)
TOP = {
    'SpikingBackbone': ('backbone', dict(stages=[STAGE])),
    'QKFormer': ('backbone', dict(stages=[STAGE])),
    'PEDSNeck': ('neck', dict(in_channels=[4])),
    'SpikingFPN': ('neck', dict(in_channels=[4])),
    'SpikingClsHead': ('head', {}),
}
# mmpretrain's classes check theirs, and tests/test_engine/test_nonsense.py what is ours of them
PREPROCESSORS = {'ErasingDataPreprocessor', 'EventDataPreprocessor'}
# As those, and tests/test_models/test_distilled.py
CLASSIFIERS = {'DistilledClassifier'}
EMBEDDINGS = [
    name for name, part in PARTS.items() if {'in_channels', 'embed_dims'} <= arguments_of(part)
]
# What keeps its channels
OWN = {'MaxPoolEmbed': dict(embed_dims=4)}
# The graph gives these
OF_THE_GRAPH = {'in_channels', 'embed_dims'}
# These may be below zero
SIGNED = {'v_reset', 'mse_target'}
NONSENSE = {
    bool: ['False', 0, None],
    int: ['False', math.nan, math.inf, 1.5, -2, True],
    float: ['False', math.nan, math.inf, -2.0, True],
    str: ['nobody', True, 3],
}


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


def built(name, **changes):
    """A part from a config, as the builder of the place where it stands builds it."""
    needed = {
        key: NEEDED[key]
        for key, p in parameters_of(PARTS[name]).items()
        if key in NEEDED and p.default is p.empty
    }
    cfg = {'type': name, **needed, **OWN.get(name, {}), **TOP.get(name, ('', {}))[1], **changes}
    return MODELS.build(cfg) if name in TOP else build(cfg)


def path_of(name, key):
    return re.escape(f'{TOP[name][0]}.{key}' if name in TOP else key)


@pytest.mark.parametrize('name', [name for name in PARTS if name not in CLASSIFIERS])
def test_a_part_knows_its_keys_only(name):
    built(name)
    with pytest.raises(ValueError, match=f'^{path_of(name, "nonsense")}=3: {name} knows no such'):
        built(name, nonsense=3)


def wrong_values():
    for name, part in PARTS.items():
        for key, p in parameters_of(part).items():
            given = NEEDED.get(key) if p.default is p.empty else p.default
            by_graph = key in OF_THE_GRAPH and name not in TOP
            if name in PREPROCESSORS or by_graph or type(given) not in NONSENSE:
                continue
            for value in NONSENSE[type(given)]:
                if not (key in SIGNED and value == -2.0):
                    yield name, key, value


@pytest.mark.parametrize(('name', 'key', 'value'), wrong_values())
def test_a_wrong_value_is_refused_by_its_key(name, key, value):
    with pytest.raises(ValueError, match=f'^{path_of(name, key)}='):
        built(name, **{key: value})


def test_there_are_wrong_values():
    assert len(list(wrong_values())) > 150


@pytest.mark.parametrize(
    'name', [name for name in TOP if 'in_channels' in arguments_of(PARTS[name])]
)
def test_what_is_missing_is_named(name):
    part, needed = TOP[name]
    required = [k for k, p in parameters_of(PARTS[name]).items() if p.default is p.empty]
    for key in required:
        cfg = {'type': name, **{k: NEEDED[k] for k in required}, **needed}
        del cfg[key]
        with pytest.raises(ValueError, match=rf"^{part}=.*: expected \['{key}'\] too"):
            MODELS.build(cfg)


def residuals_of_embeddings():
    for name in EMBEDDINGS:
        for residual in ('add', 'membrane'):
            if (name, residual) == ('SPS', 'membrane') or name in OWN:
                continue  # Spikformer adds spikes; a pool learns nothing
            takes = 'residual' in arguments_of(PARTS[name])
            yield name, dict(residual=residual) if takes else {}


@pytest.mark.parametrize(('name', 'residual'), residuals_of_embeddings())
def test_an_embedding_keeps_its_word(name, residual):
    """Of its stride, and of what leaves it."""
    torch.manual_seed(0)
    layer = built(name, **residual).double()
    for norm in layer.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.constant_(norm.weight, 3.0)
    assert layer.stride > 1
    for height, width in ((8, 8), (7, 9), (4, 13)):
        x = 3 * torch.randn(3, 2, 4, height, width, dtype=torch.float64)
        y = layer(x)
        size = (math.ceil(height / layer.stride), math.ceil(width / layer.stride))
        assert y.shape == (3, 2, 8, *size)
        whole = torch.equal(y, y.round())
        assert whole == (layer.stream in ('spikes', 'sums'))
        assert not whole or (y.min() == 0 and y.max() == 1 + (layer.stream == 'sums'))
    y.sum().backward()
    assert [key for key, p in layer.named_parameters() if p.grad is None] == []


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


@pytest.mark.parametrize('value', ['nobody', math.nan, -1, [None]])
@pytest.mark.parametrize(
    ('name', 'field'),
    [
        (name, field)
        for name, function in ARCHITECTURES.items()
        if '-' in name
        for field in [*parameters_of(function), 'nonsense']
    ],
)
def test_a_wrong_field_of_an_architecture_is_named(name, field, value):
    named = rf'( has unknown keys \[.nonsense|\.{field}(\[0\])?=)'
    with pytest.raises(ValueError, match=rf'^backbone\.arch{named}'):
        MODELS.build(dict(type='SpikingBackbone', arch={'base': name, field: value}))
