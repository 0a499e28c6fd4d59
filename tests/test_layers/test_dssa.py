"""Dual spike self attention, its running rates and its feed-forward network."""

import copy

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from torch.nn import functional as F

from mmqkformer.engine.replay import running_statistics
from mmqkformer.engine.statistics import statistics_layers
from mmqkformer.layers import RunningRate, SpikingBlock, checkpointed, merge_time

COMMON = dict(neuron=dict(type='LIFNeuron', tau=2.0), norm_cfg=dict(type='BN'))
STAGES = [
    dict(
        embed=dict(type='ConvEmbed', units=[dict(stride=2, fire='none')]),
        block=[
            dict(type='DSSA', name='attention', num_heads=2, patch_size=2, residual='membrane'),
            dict(type='GWFFN', name='mlp', group_size=8, residual='membrane'),
        ],
        channels=16,
        depth=2,
    )
]


def spikes(*shape, rate=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < rate).double()


def build(name, dims=16, **kwargs):
    """A layer that fires often."""
    torch.manual_seed(0)
    layer = MODELS.build(dict(type=name, embed_dims=dims, **COMMON, **kwargs)).double()
    for norm in layer.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 1.0, 4.0)
            nn.init.normal_(norm.bias)
    return layer


def backbone(**kwargs):
    torch.manual_seed(0)
    return MODELS.build(
        dict(type='SpikingBackbone', stages=STAGES, time_steps=2, out='stream', **kwargs)
    ).double()


def by_hand(layer, x, input_rate, map_rate):
    """The paper's equations, pixel by pixel, of rates for each head."""
    steps, batch, channels, height, width = x.shape
    d, p = channels // 2, layer.patch_size
    patches = (height // p) * (width // p)
    kv = layer.key_value(x).reshape(steps, batch, 2, 2 * d, patches)
    q = x.reshape(steps, batch, 2, d, height * width)
    similar = torch.einsum('tbhdp,tbhdn->tbhpn', kv[:, :, :, :d], q)
    a = layer.map_neuron(similar / torch.sqrt(input_rate * d).view(2, 1, 1))
    y = torch.einsum('tbhdp,tbhpn->tbhdn', kv[:, :, :, d:], a)
    y = y / torch.sqrt(map_rate * patches).view(2, 1, 1)
    return a, layer.proj(layer.product_neuron(y.reshape(x.shape)))


@pytest.mark.parametrize('size', [(4, 6), (8, 8), (5, 7)])
def test_attention_follows_its_equations_at_any_size(size):
    layer = build('DSSA', num_heads=2, patch_size=2).eval()
    rates = torch.tensor([[0.1, 0.4], [0.2, 0.7]], dtype=torch.float64)
    for rate, value in zip((layer.input_rate, layer.map_rate), rates):
        rate.rate.copy_(value.view(1, 1, 2, 1, 1))
    maps = []
    layer.attention_map.register_forward_hook(lambda module, args, out: maps.append(out))
    x = spikes(3, 2, 16, *size)
    a, expected = by_hand(layer, x, *rates)
    torch.testing.assert_close(layer(x), expected)
    assert torch.equal(maps[0], a)
    assert 0 < a.mean() < 1
    assert a.shape[3:] == (size[0] // 2 * (size[1] // 2), size[0] * size[1])


def test_in_training_the_batch_counts_before_it_is_used():
    layer = build('DSSA', num_heads=2, patch_size=2).train()
    x = torch.cat([spikes(3, 2, 8, 4, 4, rate=0.2), spikes(3, 2, 8, 4, 4, rate=0.6)], dim=2)
    first = x.unflatten(2, (2, 8)).mean((0, 1, 3, 4, 5))
    a, _ = by_hand(copy.deepcopy(layer), x, first, torch.ones(2).double())
    pairs = a.mean((0, 1, 3, 4))
    _, expected = by_hand(copy.deepcopy(layer), x, first, pairs)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.input_rate.rate.flatten(), first)
    torch.testing.assert_close(layer.map_rate.rate.flatten(), pairs)


def test_an_input_below_a_patch_is_refused():
    layer = build('DSSA', num_heads=2, patch_size=4)
    with pytest.raises(ValueError, match=r'patch_size=4: expected at most the sides .*, 3 x 5'):
        layer(spikes(2, 1, 16, 3, 5))


def test_products_are_float32_under_autocast():
    layer = build('DSSA', num_heads=2).float().eval()
    seen = []
    for neuron in (layer.map_neuron, layer.product_neuron):
        neuron.register_forward_hook(lambda module, args, out: seen.append(args[0].dtype))
    with torch.autocast('cpu', torch.bfloat16):
        y = layer(spikes(2, 2, 16, 4, 4).bfloat16())
    assert seen == [torch.float32] * 2
    assert y.dtype == torch.bfloat16


def test_the_rate_of_the_first_batch_is_its_own_and_later_ones_mix():
    rate = RunningRate(2).double()
    batches = [spikes(2, 3, 2, 4, 5, rate=r, seed=i) for i, r in enumerate((0.2, 0.5, 0.9))]
    means = [batch.mean((0, 1, 3, 4)) for batch in batches]
    expected = means[0]
    for i, batch in enumerate(batches):
        if i:
            expected = 0.999 * expected + 0.001 * means[i]
        given = rate(batch)
        torch.testing.assert_close(given.flatten(), expected)
        assert torch.equal(given, rate.rate)
    rate.eval()
    assert torch.equal(rate(batches[0]), given)
    assert torch.equal(rate.rate, given)


def test_a_head_that_never_fired_counts_as_one_that_always_does():
    rate = RunningRate(2)
    x = torch.zeros(2, 3, 2, 4, 5)
    assert rate(x).flatten().tolist() == [1, 1]
    x[:, :, 1] = 1
    x[0] = 0
    assert rate(x).flatten().tolist() == [1, 0.5]
    assert rate.rate.flatten().tolist() == [0, 0.5]
    assert rate.eval()(1 - x).flatten().tolist() == [1, 0.5]


def test_rates_have_no_gradient_and_are_saved_alone():
    layer = build('DSSA', num_heads=2).train()
    x = spikes(2, 2, 16, 4, 4).requires_grad_()
    layer(x).sum().backward()
    assert not layer.input_rate(x.flatten(3).unflatten(2, (2, 8))).requires_grad
    names = {name for name in layer.state_dict() if 'rate' in name}
    assert names == {'input_rate.rate', 'map_rate.rate'}
    fresh = build('DSSA', num_heads=2)
    fresh.load_state_dict(layer.state_dict())
    # As resumed: the first batch is no first one
    for part in (layer, fresh):
        part(spikes(2, 2, 16, 4, 4, rate=0.8, seed=1))
    assert torch.equal(fresh.input_rate.rate, layer.input_rate.rate)


def test_a_network_that_was_never_trained_gives_numbers():
    x = torch.randn(2, 3, 12, 14, dtype=torch.float64)
    with torch.no_grad():
        (y,) = backbone().eval()(x)
    assert y.isfinite().all()


def test_checkpointing_uses_the_rates_of_its_own_pass():
    """Also where another pass has changed them before the gradients are computed."""
    batches = [spikes(2, 3, 16, 4, 6, rate=r, seed=i) for i, r in enumerate((0.2, 0.7))]
    results = []
    for run in (lambda block, x: block(x), checkpointed):
        torch.manual_seed(0)
        block = SpikingBlock(16, STAGES[0]['block'], in_stream='membrane', **COMMON).double()
        inputs = [batch.clone().requires_grad_() for batch in batches]
        sum(run(block, x).square().sum() for x in inputs).backward()
        gradients = [x.grad for x in inputs] + [p.grad for p in block.parameters()]
        results.append([*gradients, *block.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize('held', [dict(norm_eval=True), dict(frozen_stages=1)])
def test_what_keeps_norms_keeps_rates(held):
    model = backbone(**held).train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    model(torch.randn(2, 3, 12, 14, dtype=torch.float64))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert not any(isinstance(layer, RunningRate) for layer in statistics_layers(model))


def test_rates_are_statistics_of_a_model():
    model = backbone()
    rates = [m for m in model.modules() if isinstance(m, RunningRate)]
    assert len(rates) == 4
    assert set(rates) <= set(statistics_layers(model))
    found = {name for name, _ in running_statistics(model)}
    assert 'stages.0.blocks.1.attention.map_rate.rate' in found


def test_without_a_momentum_the_rate_is_the_mean_over_batches():
    rate = RunningRate(1).double()
    rate.rate.fill_(0.9)
    rate.reset_running_stats()
    rate.momentum = None
    batches = [spikes(2, 3, 1, 4, 5, seed=i) for i in range(3)]
    for batch in batches:
        rate(batch)
    assert rate.rate.item() == pytest.approx(torch.stack(batches).mean().item())
    assert rate.num_batches_tracked == 3


def test_the_feed_forward_network_has_a_shortcut_inside():
    layer = build('GWFFN', 8, group_size=16).eval()
    x = spikes(3, 2, 8, 5, 4)
    u = layer.up(x)
    assert layer.conv.conv.weight.shape == (32, 16, 3, 3)
    fired = merge_time(layer.conv.neuron(u))
    inner = F.conv2d(fired, layer.conv.conv.weight, padding=1, groups=2)
    w = u + layer.conv.norm(inner).view_as(u)
    assert all(part.conv.bias is None for part in (layer.up, layer.conv, layer.down))
    torch.testing.assert_close(layer(x), layer.down(w))


def test_groups_divide_the_hidden_channels_or_hold_all():
    assert build('GWFFN', 8, ratio=2).conv.conv.groups == 1
    with pytest.raises(ValueError, match='group_size=24: expected a divisor of 32'):
        build('GWFFN', 8, group_size=24)
