"""What is recorded is what the modules gave out, call by call, and nothing stays behind."""

import pytest
import torch
from mmengine.registry import MODELS
from networks import awaken
from torch import Tensor, nn

from mmqkformer.analysis import recording
from mmqkformer.layers import AttentionMap
from mmqkformer.neurons import SpikingNeuron


class Twice(nn.Module):
    """A linear layer that is called twice, and an activation."""

    def __init__(self):
        super().__init__()
        self.part = nn.ModuleDict(dict(linear=nn.Linear(3, 3), relu=nn.ReLU()))
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        return self.part['relu'](self.part['linear'](self.part['linear'](x)))


def hooks(model):
    return [hook for module in model.modules() for hook in module._forward_hooks.values()]


def test_every_call_of_every_pass_is_recorded():
    model, x = Twice(), torch.randn(2, 3)
    with recording(model, nn.Linear) as outputs:
        assert outputs == {'part.linear': [], 'unused': []}
        model(x)
        model(2 * x)
    linear = model.part['linear']
    expected = [linear(x), linear(linear(x)), linear(2 * x), linear(linear(2 * x))]
    assert len(outputs['part.linear']) == 4
    assert all(map(torch.equal, outputs['part.linear'], expected))
    assert not any(output.requires_grad for output in outputs['part.linear'])
    assert outputs['unused'] == []
    model(x)
    assert len(outputs['part.linear']) == 4


@pytest.mark.parametrize(
    ('select', 'names'),
    [
        (nn.ReLU, ['part.relu']),
        ((nn.ReLU, nn.Linear), ['part.linear', 'part.relu', 'unused']),
        ('part.*', ['part.linear', 'part.relu']),
        ('*', ['', 'part', 'part.linear', 'part.relu', 'unused']),
        (lambda name, module: name.startswith('un'), ['unused']),
    ],
    ids=['type', 'types', 'pattern', 'everything', 'function'],
)
def test_modules_are_selected(select, names):
    with recording(Twice(), select) as outputs:
        assert list(outputs) == names


def test_outputs_are_reduced_as_they_come():
    class Heads(nn.Module):
        def forward(self, x):
            return {'a': x, 'b': [x + 1, 'text']}

    seen, x = [], torch.ones(2, requires_grad=True)

    def largest(output):
        seen.append(output)
        return max(output['a'].max().item(), output['b'][0].max().item())

    model = Heads()
    with recording(model, Heads, largest) as outputs:
        assert model(x)['a'].requires_grad
        assert outputs == {'': [2.0]}
    assert not seen[0]['a'].requires_grad
    assert seen[0]['b'][1] == 'text'


def test_recordings_may_be_nested():
    model, x = Twice(), torch.randn(2, 3)
    with recording(model, nn.ReLU) as outer:
        model(x)
        with recording(model, '*relu', Tensor.sum) as inner:
            model(x)
        model(x)
    assert len(outer['part.relu']) == 3
    assert [float(n) for n in inner['part.relu']] == [float(outer['part.relu'][1].sum())]
    assert not hooks(model)


def test_hooks_are_gone_behind_an_error():
    model = Twice()
    with pytest.raises(RuntimeError), recording(model, '*'):
        model(torch.randn(2, 4))
    with pytest.raises(ZeroDivisionError), recording(model, '*', lambda output: 1 / 0):
        model(torch.randn(2, 3))
    assert not hooks(model)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((nn.Conv2d,), "select=<class '.*Conv2d'>: chooses no module of Twice"),
        (('stages.*',), r"select='stages\.\*': chooses no module of Twice"),
        ((3,), 'select=3: expected a type, a tuple of types, a pattern of names, or a function'),
        (((nn.ReLU, 'part'),), r"select=\(.*'part'\): expected a type"),
        ((nn.ReLU, 'mean'), "reduce='mean': expected a function of an output"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    model = Twice()
    with pytest.raises(ValueError, match=message), recording(model, *arguments):
        pass
    assert not hooks(model)


def network(*attentions, **kwargs):
    torch.manual_seed(0)
    width = 8 * len(attentions)
    stages = [
        dict(
            embed=dict(type='ConvEmbed', units=[dict(kernel_size=3)]),
            block=dict(attention=attention, mlp=dict(type='SpikingMLP', ratio=1)),
            channels=width,
            depth=1,
        )
        for attention in attentions
    ]
    model = MODELS.build(
        dict(
            type='SpikingBackbone',
            stages=stages,
            time_steps=3,
            neuron=dict(type='LIFNeuron'),
            **kwargs,
        )
    )
    x = torch.randn(2, 3, 4, 5)
    return awaken(model, x), x


def test_firing_rates_are_a_number_for_each_neuron():
    model, x = network(dict(type='QKTokenAttention', num_heads=2))
    with torch.no_grad(), recording(model, SpikingNeuron, lambda s: s.mean().item()) as rates:
        model(x)
    called = [calls for calls in rates.values() if calls]
    assert all(len(calls) == 1 and 0 <= calls[0] <= 1 for calls in called)
    assert any(0 < calls[0] < 1 for calls in called)


def test_a_backward_pass_that_computes_anew_records_anew():
    model, x = network(dict(type='QKChannelAttention'), with_cp=True)
    model.train()
    with recording(model, AttentionMap) as maps:
        model(x)[0].sum().backward()
    (first, again) = maps['stages.0.blocks.0.attention.attention_map']
    assert torch.equal(first, again)


def test_every_attention_shows_its_map():
    model, x = network(
        dict(type='QKTokenAttention', num_heads=2),
        dict(type='QKChannelAttention'),
        dict(type='SpikingSelfAttention', num_heads=4, contraction='qk_first'),
        dict(type='SpikingSelfAttention', num_heads=4, contraction='kv_first'),
    )
    blocks = [f'stages.{i}.blocks.0.attention' for i in range(4)]

    def part_of_an_attention(name, module):
        return name.endswith(('.query', '.key', '.value', '.proj.conv'))

    with (
        torch.no_grad(),
        recording(model, AttentionMap) as maps,
        recording(model, part_of_an_attention) as parts,
    ):
        model(x)
    assert list(maps) == [f'{name}.attention_map' for name in blocks]
    assert not any('attention_map' in key for key in model.state_dict())
    taps = [model.get_submodule(name) for name in maps]
    assert [tap.over for tap in taps] == ['tokens', 'channels', 'pairs', 'pairs']
    tokens, channels, pairs, none = maps.values()

    def outputs(block, *names):
        return [parts[f'{blocks[block]}.{name}'][0] for name in names]

    q, k, out = outputs(0, 'query', 'key', 'proj.conv')
    attention, token = model.get_submodule(blocks[0]), tokens[0]
    assert token.shape == (3, 2, 2, 4, 5)
    mask = token.repeat_interleave(16, 2)
    assert torch.equal(attention.masked(q, torch.ones_like(q)), mask)
    assert torch.equal(attention.proj.conv((k * mask).flatten(0, 1)), out)

    (q,), channel = outputs(1, 'query'), channels[0]
    assert channel.shape == (3, 2, 32, 1, 1)
    expected = model.get_submodule(blocks[1]).masked(q, torch.ones_like(q))
    assert torch.equal(expected, channel.expand_as(q))

    q, k, v = (x.flatten(3).unflatten(2, (4, -1)) for x in outputs(2, 'query', 'key', 'value'))
    assert torch.equal(pairs[0], torch.einsum('tbhck,tbhcq->tbhkq', k, q))
    assert torch.equal(v @ pairs[0], model.get_submodule(blocks[2]).contract(q, k, v))
    # The order that never computes one
    assert none == []


def test_what_a_map_is_over_is_checked():
    with pytest.raises(ValueError, match="over='heads'"):
        AttentionMap('heads')
