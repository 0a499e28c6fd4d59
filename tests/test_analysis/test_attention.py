"""What is recorded of attentions is what hand-built ones compute, and each family shows its own."""

import re

import pytest
import torch
from mmengine.registry import MODELS
from networks import awaken
from torch import Tensor, nn
from zoo import distinct_architectures

from mmqkformer.analysis import Attention, record_attention
from mmqkformer.analysis.pictures import overlay_arrays
from mmqkformer.layers import AttentionMap
from mmqkformer.models.archs import expand_arch
from mmqkformer.models.shrink import shrink

# Spikes [C, N] of four channels and three tokens in a row
X = [[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]]
# Channels c and c + 2, of the other of two heads
SWAPPED = [2, 3, 0, 1]


def spikes(rows) -> Tensor:
    """``[T=1, B=1, C, 1, N]``."""
    return torch.tensor(rows, dtype=torch.float32)[None, None, :, None]


def built(kind, swapped=('query',), **kwargs) -> nn.Module:
    """An attention whose layers copy their input, or swap the halves of its channels.

    A current of 3 makes a LIF neuron of tau 2 and threshold 1 fire at once.
    """
    attention = MODELS.build(
        dict(
            type=kind,
            embed_dims=4,
            neuron=dict(type='LIFNeuron', tau=2.0),
            norm_cfg=dict(type='BN'),
            **kwargs,
        )
    ).eval()
    for name in ('query', 'key', 'value'):
        if hasattr(attention, name):
            order = SWAPPED if name in swapped else range(4)
            weight = 3 * torch.eye(4)[list(order)]
            getattr(attention, name).conv.weight.data = weight[:, :, None, None]
    return attention


def recorded(attention, x=None):
    (found,) = record_attention(
        attention, lambda: attention(spikes(X) if x is None else x)
    ).values()
    return found


def test_token_attention_of_chosen_spikes():
    found = recorded(built('QKTokenAttention', num_heads=2))
    assert (found.kind, found.over, found.grid) == ('QKTokenAttention', 'tokens', (1, 3))
    assert torch.equal(found.key, spikes(X))
    assert torch.equal(found.query, spikes([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0]]))
    # Of Q the first head has a spike in every token, the second in the first two
    mask = torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    assert torch.equal(found.map, mask[None, None, :, None])
    assert torch.equal(found.out, spikes([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]]))
    assert torch.equal(found.received().values, found.map)
    assert found.received().is_mask
    with pytest.raises(ValueError, match='QKTokenAttention masks tokens: expected an attention of'):
        found.asked_by(0, 0)


def test_channel_attention_of_chosen_spikes():
    found = recorded(
        built('QKChannelAttention'), spikes([[1, 0, 0], [0, 1, 0], [0, 0, 0], [0] * 3])
    )
    # Q has spikes in the last two channels, where K has none
    assert found.map.flatten().tolist() == [0, 0, 1, 1]
    assert not found.out.any()


def test_spike_driven_attention_of_chosen_spikes():
    found = recorded(built('SpikeDrivenSelfAttention'))
    # K and V are the same: a channel passes that has a spike
    assert found.map.flatten().tolist() == [1, 1, 0, 1]
    assert torch.equal(found.out, spikes([[0, 0, 0], [1, 1, 1], [0, 0, 0], [0, 1, 0]]))
    assert torch.equal(found.received().values[0, 0, 0, 0], torch.tensor([0.25, 0.5, 0.25]))


@pytest.mark.parametrize('contraction', ['auto', 'kv_first', 'qk_first'])
def test_self_attention_of_chosen_spikes_has_its_map_in_any_order(contraction):
    attention = built('SpikingSelfAttention', num_heads=2, contraction=contraction)
    found = recorded(attention)
    assert attention.contraction == contraction
    # keys x queries: of the first head K is [[1,0,0],[0,1,0]] and Q [[0,0,0],[1,1,1]]; of the
    # second K is [[0,0,0],[1,1,1]] and Q [[1,0,0],[0,1,0]]
    first = [[0, 0, 0], [1, 1, 1], [0, 0, 0]]
    second = [[0, 1, 0]] * 3
    assert torch.equal(found.map[0, 0], torch.tensor([first, second], dtype=torch.float32))
    received = found.received().values[0, 0, :, 0]
    assert torch.allclose(received, torch.tensor([[0.0, 1, 0], [1 / 3] * 3]))
    assert torch.equal(
        found.asked_by(0, 1).values[0, 0, :, 0], torch.tensor([[0.0, 1, 0], [1, 1, 1]])
    )
    with pytest.raises(ValueError, match=r'query=\(1, 0\): expected a token of the 1 x 3 of'):
        found.asked_by(1, 0)


def test_the_order_that_has_a_map_changes_no_spike_and_is_undone():
    x = torch.randint(2, (3, 2, 16, 4, 5), generator=torch.Generator().manual_seed(0)).float()
    torch.manual_seed(0)
    attention = MODELS.build(
        dict(
            type='SpikingSelfAttention',
            embed_dims=16,
            num_heads=2,
            scale=0.25,
            contraction='kv_first',
            neuron=dict(type='LIFNeuron'),
            norm_cfg=dict(type='BN'),
        )
    )
    awaken(attention, x)
    with torch.no_grad():
        expected = attention(x)
        outputs = []
        found = recorded(attention, x)
        record_attention(attention, lambda: outputs.append(attention(x)))
    assert torch.equal(outputs[0], expected)
    q, k = (y.flatten(3).unflatten(2, (2, -1)) for y in (found.query, found.key))
    assert found.map.max() > 1
    for t, head, key, query in ((0, 0, 0, 0), (1, 1, 7, 3), (2, 0, 19, 11)):
        product = sum(
            float(a) * float(b) for a, b in zip(q[t, 1, head, :, query], k[t, 1, head, :, key])
        )
        assert float(found.map[t, 1, head, key, query]) == product
    with pytest.raises(ZeroDivisionError):
        record_attention(attention, lambda: 1 / 0)
    assert attention.contraction == 'kv_first'
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in attention.modules())


def test_keys_of_all_steps_are_told_apart():
    # Two steps of two tokens: map[query, key] = 10 * query + key
    pairs = 10.0 * torch.arange(4)[:, None] + torch.arange(4)
    found = Attention(
        'Any', 'space_time', pairs[None, None], (1, 2), None, None, torch.ones(2, 1, 4, 1, 2)
    )
    # Token 1 of the last step is query 3
    assert found.asked_by(0, 1).values[:, 0, 0, 0].tolist() == [[30, 31], [32, 33]]
    assert found.received().values[:, 0, 0, 0].tolist() == [[15, 16], [17, 18]]


def test_patches_are_the_tokens_that_are_looked_at():
    x = torch.randint(2, (2, 1, 8, 5, 6), generator=torch.Generator().manual_seed(0)).float()
    attention = MODELS.build(
        dict(
            type='DSSA',
            embed_dims=8,
            num_heads=2,
            patch_size=2,
            neuron=dict(type='LIFNeuron'),
            norm_cfg=dict(type='BN'),
        )
    )
    awaken(attention, x)
    found = recorded(attention, x)
    assert found.grid == (2, 3)
    assert found.map.shape == (2, 1, 2, 6, 30)
    assert torch.equal(found.asked_by(1, 2).values[0, 0, 0].flatten(), found.map[0, 0, 0, :, 8])
    assert found.key is None


def test_what_has_no_map_is_refused():
    with pytest.raises(ValueError, match='Linear: expected an attention with a map, has none'):
        record_attention(nn.Linear(2, 2), lambda: None)
    with pytest.raises(ValueError, match='expected a pass that calls its attentions'):
        record_attention(built('QKChannelAttention'), lambda: None)


def one_of_each():
    """Of each family's attentions an architecture."""
    chosen = {}
    for name in distinct_architectures():
        kinds = re.findall(r"'type': '(\w*(?:Attention|DSSA))'", str(expand_arch(name)))
        chosen.setdefault((name.split('-')[0], *sorted(set(kinds))), name)
    return {name: set(kinds) for (_, *kinds), name in chosen.items()}


ARCHS = one_of_each()


@pytest.mark.parametrize('name', [name for name, kinds in ARCHS.items() if kinds])
def test_attentions_of_every_family_lie_over_the_image(name):
    torch.manual_seed(0)
    stages = shrink(expand_arch(name), 16)
    model = MODELS.build(dict(type='SpikingBackbone', stages=stages, time_steps=2))
    side = 2 * model.strides[-1]
    x = torch.randn(1, 3, side, side)
    awaken(model, x)
    found = record_attention(model, lambda: model(x))
    assert {a.kind for a in found.values()} == ARCHS[name]
    taps = [m for m in model.modules() if isinstance(m, AttentionMap)]
    assert len(found) == len(taps)
    image = torch.randint(256, (1, side, side, 3)).to(torch.uint8).numpy()
    for attention in found.values():
        rows, columns = attention.out.shape[-2:]
        assert attention.out.shape[:2] == (2, 1)
        assert side % rows == side % columns == 0
        maps = [attention.received()]
        if attention.has_queries:
            maps.append(attention.asked_by(rows - 1, 0))
        for token_map in maps:
            assert token_map.values.shape[:2] == (2, 1)
            assert token_map.values.shape[-2:] == attention.grid
            assert overlay_arrays(image, token_map, side=side).shape == (2, side, side, 3)
