"""Blocks of any branches: each kind of residual, neurons, names, layer scale, errors."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmqkformer.layers import SpikingBlock

NEURON = dict(type='LIFNeuron', tau=2.0)
COMMON = dict(neuron=NEURON, norm_cfg=dict(type='BN'))


@MODELS.register_module()
class DoubledBranch(nn.Module):
    """From outside the package, with no neuron and no norm: ``[T, B, C, H, W]`` times ``by``."""

    def __init__(self, embed_dims: int, by: float = 2.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((embed_dims, 1, 1), by))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def spikes(*shape, seed=0):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.4).float()


def block(*branches, **kwargs):
    torch.manual_seed(0)
    return SpikingBlock(8, list(branches), **COMMON, **kwargs).eval()


def mlp(**kwargs):
    return dict(type='SpikingMLP', ratio=2, **kwargs)


EQUATIONS = {
    'add': lambda x, f, fire: x + fire(f(x)),
    'membrane': lambda x, f, fire: x + f(fire(x)),
    'and': lambda x, f, fire: x * fire(f(x)),
    'iand': lambda x, f, fire: x * (1 - fire(f(x))),
}


@pytest.mark.parametrize('kind', EQUATIONS)
def test_a_residual_is_its_equation(kind):
    layer = block(dict(type='DoubledBranch', name='twice', residual=kind), in_stream='spikes')
    x = spikes(3, 2, 8, 4, 5)
    assert torch.equal(layer(x), EQUATIONS[kind](x, layer.twice, MODELS.build(NEURON)))


def test_branches_run_in_their_order_each_with_its_own_kind():
    layer = block(
        mlp(name='first', residual='membrane'),
        mlp(name='second', out_neuron=dict(type='IFNeuron')),
        dict(type='QKTokenAttention', num_heads=2, residual='membrane'),
    )
    x = torch.randn(3, 2, 8, 4, 5, generator=torch.Generator().manual_seed(1))
    lif, rest = MODELS.build(NEURON), MODELS.build(dict(type='IFNeuron'))
    y = x + layer.first(lif(x))
    y = y + rest(layer.second(y))
    assert torch.equal(layer(x), y + layer.branch2(lif(y)))
    assert layer.stream == 'membrane'


def test_a_branch_has_a_neuron_of_its_own_inside_and_outside():
    plif = dict(type='PLIFNeuron')
    layer = block(mlp(name='a', neuron=plif), mlp(name='b', out_neuron=plif), mlp(name='c'))
    learnt = [name for name in layer.state_dict() if name.endswith('.w')]
    assert learnt == ['a.fc1.neuron.w', 'a_neuron.w', 'b_neuron.w']


def test_the_shorthand_is_two_branches():
    attention = dict(type='QKTokenAttention', num_heads=2)
    torch.manual_seed(0)
    short = SpikingBlock(8, dict(attention=attention, mlp=mlp()), **COMMON).eval()
    long = block(dict(attention, name='attention'), mlp(name='mlp'))
    assert list(short.state_dict()) == list(long.state_dict())
    x = spikes(3, 2, 8, 4, 5)
    assert torch.equal(short(x), long(x))


def test_the_shorthand_sets_neuron_norm_and_residual_of_both():
    torch.manual_seed(0)
    cfg = dict(
        attention=dict(type='QKTokenAttention', num_heads=2, neuron=dict(type='IFNeuron')),
        mlp=mlp(),
        neuron=dict(type='PLIFNeuron'),
        norm_cfg=dict(type='GN', num_groups=2),
        residual='membrane',
    )
    layer = SpikingBlock(8, cfg, **COMMON)
    learnt = [name for name in layer.state_dict() if name.endswith('.w')]
    # The attention's layers have the neuron that it names, its residual the block's
    assert learnt == ['attention_neuron.w', 'mlp.fc1.neuron.w', 'mlp_neuron.w']
    assert isinstance(layer.attention.query.norm, nn.GroupNorm)
    assert layer.stream == 'membrane'


def test_layer_scale_is_learnt_for_each_channel():
    layer = block(mlp(name='a', residual='membrane', layer_scale=0.5))
    x = torch.randn(3, 2, 8, 4, 5)
    assert layer.a_scale.shape == (8,)
    assert torch.equal(layer(x), x + 0.5 * layer.a(MODELS.build(NEURON)(x)))
    layer(x).sum().backward()
    assert (layer.a_scale.grad != 0).any()


def test_a_branch_is_dropped_on_its_own():
    layer = block(mlp(name='a', drop_path=0.999), mlp(name='b'), drop_path=0.0)
    layer.train()
    x = spikes(2, 4, 8, 3, 3)
    torch.manual_seed(0)
    dropped = layer(x)
    twin = block(mlp(name='a'), mlp(name='b')).train()
    assert torch.equal(dropped, x + twin.b_neuron(twin.b(x)))


@pytest.mark.parametrize(
    ('kinds', 'in_stream', 'expected'),
    [
        ([], 'spikes', 'spikes'),
        (['add'], 'spikes', 'sums'),
        (['and', 'iand'], 'spikes', 'spikes'),
        (['membrane'], 'spikes', 'membrane'),
        (['add'], 'membrane', 'membrane'),
        (['membrane', 'add'], 'sums', 'membrane'),
    ],
)
def test_a_block_knows_what_leaves_it(kinds, in_stream, expected):
    layer = block(
        *[dict(type='DoubledBranch', residual=kind) for kind in kinds], in_stream=in_stream
    )
    assert layer.stream == expected


@pytest.mark.parametrize(
    ('branch', 'message'),
    [
        (3, r'block\[1\]=3: expected a dict'),
        (dict(ratio=2), r"block\[1\]=.*: expected a dict with 'type'"),
        (dict(type='Nobody'), r"block\[1\]\.type='Nobody': expected the name"),
        (mlp(ratio_=3), r'block\[1\]\.ratio_=3: SpikingMLP knows no such key'),
        (mlp(name='a b'), r"block\[1\]\.name='a b': expected a new name"),
        (mlp(name='zero'), r"block\[1\]\.name='zero': expected a new name"),
        (mlp(name='forward'), r"block\[1\]\.name='forward': expected a new name"),
        (mlp(residual='xor'), r"block\[1\]\.residual='xor': expected 'add'"),
        (mlp(residual='and'), r"block\[1\]\.residual='and': expected a stream of spikes"),
        (mlp(in_neuron=NEURON), r'block\[1\]\.in_neuron=.*: expected out_neuron'),
        (mlp(out_neuron=dict(type='ReLU')), r"block\[1\]\.out_neuron\.type='ReLU': expected"),
        (mlp(drop_path=1), r'block\[1\]\.drop_path=1: expected'),
        (mlp(layer_scale=1e-6), r'block\[1\]\.layer_scale=1e-06: expected residual='),
        (mlp(norm_cfg=dict(type='XN')), r"block\[1\]\.norm_cfg\.type='XN': expected"),
        (dict(type='DoubledBranch', norm_cfg=dict(type='BN')), r'block\[1\]\.norm_cfg=.*knows no'),
        (dict(type='QKTokenAttention'), r"block\[1\]=.*: expected \['num_heads'\] too"),
        (dict(type='QKTokenAttention', num_heads=3), r'block\[1\]\.num_heads=3: expected a div'),
    ],
)
def test_a_wrong_field_is_named_with_its_path(branch, message):
    with pytest.raises(ValueError, match=message):
        block(mlp(name='zero'), branch)


def test_iand_drops_no_path():
    with pytest.raises(ValueError, match=r'block\[0\]\.drop_path=0\.1: expected 0 with'):
        block(mlp(residual='iand'), drop_path=0.1, in_stream='spikes')
