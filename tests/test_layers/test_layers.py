"""Layers: equal to the equations, exact in narrow types, one draw for all time steps."""

import math

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmqkformer.layers import DropPath, SpikingBlock, SpikingConv, checkpointed, merge_time
from mmqkformer.layers.conv import norm_of_copies

NEURON = dict(type='LIFNeuron', tau=2.0)
COMMON = dict(neuron=NEURON, norm_cfg=dict(type='BN'))
ATTENTIONS = {
    'QKTokenAttention': dict(num_heads=4),
    'QKChannelAttention': {},
    'SpikingSelfAttention': dict(num_heads=4),
    'RepConvSelfAttention': dict(num_heads=4),
    'PointwiseRepConvSelfAttention': dict(num_heads=4),
    'SpikeDrivenSelfAttention': {},
}


def spikes(*shape, rate=0.3, seed=0):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def attention(name, dims=16, **kwargs):
    torch.manual_seed(0)
    return MODELS.build(dict(type=name, embed_dims=dims, **ATTENTIONS[name], **COMMON, **kwargs))


def mask_of(layer, query):
    """What the attention multiplies each key with."""
    return layer.masked(query, torch.ones_like(query))


def test_token_mask_is_one_value_per_head_and_token():
    layer = attention('QKTokenAttention')
    query = spikes(3, 2, 16, 3, 5)
    mask = mask_of(layer, query)
    for head in range(4):
        channels = slice(4 * head, 4 * head + 4)
        counts = query[:, :, channels].sum(2)
        expected = layer.mask_neuron(counts)
        for channel in range(4 * head, 4 * head + 4):
            assert torch.equal(mask[:, :, channel], expected)


def test_channel_mask_is_one_value_per_channel():
    layer = attention('QKChannelAttention')
    query = spikes(3, 2, 16, 3, 5, rate=0.02)
    mask = mask_of(layer, query)
    expected = layer.mask_neuron(query.sum((3, 4)))
    assert torch.equal(mask, expected[..., None, None].expand_as(query))
    assert 0 < mask.mean() < 1


def test_channel_mask_counts_exactly_in_float16():
    layer = attention('QKChannelAttention', v_threshold=2050.0)
    query = torch.zeros(1, 1, 16, 64, 64)
    # A leaky neuron fires at once from 2 x the threshold: 4,099 is one too few
    query.flatten(3)[0, 0, 0, :4096] = 1
    assert mask_of(layer, query.half())[0, 0, 0, 0, 0].item() == 0
    layer = attention('QKChannelAttention', v_threshold=2048.0)
    assert mask_of(layer, query.half())[0, 0, 0, 0, 0].item() == 1


@pytest.mark.parametrize('ratio', [1, 3])
def test_ssa_follows_its_equation(ratio):
    layer = attention('SpikingSelfAttention', value_ratio=ratio).eval()
    x = spikes(2, 3, 16, 3, 4)
    q, k, v = (f(x).flatten(3) for f in (layer.query, layer.key, layer.value))
    assert v.size(2) == 16 * ratio
    heads = []
    for head in range(4):
        qh, kh, vh = (s.chunk(4, 2)[head].transpose(2, 3) for s in (q, k, v))  # [T, B, N, d]
        heads.append((qh @ kh.transpose(2, 3) @ vh * 0.125).transpose(2, 3))
    expected = layer.proj(layer.product_neuron(torch.cat(heads, 2)).unflatten(3, (3, 4)))
    torch.testing.assert_close(layer(x), expected)


def test_ssa_has_the_biases_that_it_is_told_to():
    for qkv, proj in ((False, True), (True, False)):
        layer = attention('SpikingSelfAttention', qkv_bias=qkv, proj_bias=proj)
        layers = (layer.query, layer.key, layer.value, layer.proj)
        assert [part.conv.bias is not None for part in layers] == [qkv, qkv, qkv, proj]


@pytest.mark.parametrize('ratio', [0, 1025])
def test_values_have_a_whole_number_of_times_the_channels(ratio):
    with pytest.raises(
        ValueError, match=f'value_ratio={ratio}: expected an integer from 1 to 1024'
    ):
        attention('SpikingSelfAttention', value_ratio=ratio)


@pytest.mark.parametrize('ratio', [1, 4])
@pytest.mark.parametrize('size', [(2, 2), (7, 9)])
def test_contraction_orders_are_equal(size, ratio):
    x = spikes(2, 3, 32, *size, rate=0.6)
    outputs = [
        attention('SpikingSelfAttention', 32, value_ratio=ratio, contraction=order).eval()(x)
        for order in ('auto', 'qk_first', 'kv_first')
    ]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[1], outputs[2])


def test_auto_contraction_takes_the_cheaper_order(monkeypatch):
    layer = attention('SpikingSelfAttention', 32)  # d = 8
    sizes = []
    matmul = torch.Tensor.__matmul__
    monkeypatch.setattr(
        torch.Tensor, '__matmul__', lambda a, b: sizes.append(matmul(a, b).shape) or matmul(a, b)
    )
    # With values of 24 channels 2 d e operations are fewer than N (d + e) from 12 tokens on
    for tokens, values in ((4, 8), (9, 8), (11, 24), (12, 24)):
        shapes = [(1, 1, 4, channels, tokens) for channels in (8, 8, values)]
        layer.contract(*(spikes(*shape) for shape in shapes))
    assert [tuple(size[-2:]) for size in sizes[::2]] == [(4, 4), (8, 8), (11, 11), (24, 8)]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_spike_products_are_exact_under_autocast(dtype):
    layer = attention('SpikingSelfAttention', 16, contraction='kv_first')
    ones = [torch.ones(1, 1, 16, 50, 60, dtype=dtype)] * 3
    with torch.autocast('cpu', dtype=dtype):
        q, k, v = (layer._tokens(s) for s in ones)
        with torch.autocast('cpu', enabled=False):
            product = layer.contract(q, k, v)
    assert product.dtype == torch.float32
    assert torch.equal(product, torch.full_like(product, 3000.0 * 4))


@pytest.mark.parametrize('name', ['QKTokenAttention', 'SpikingSelfAttention'])
def test_heads_must_divide_the_channels(name):
    cfg = dict(type=name, embed_dims=10, num_heads=4, **COMMON)
    with pytest.raises(ValueError, match='num_heads=4: expected a divisor of embed_dims=10'):
        MODELS.build(cfg)


def test_ssa_refuses_an_unknown_contraction():
    with pytest.raises(ValueError, match=r"contraction='fast': expected"):
        attention('SpikingSelfAttention', contraction='fast')


@pytest.mark.parametrize('residual', ['add', 'membrane'])
@pytest.mark.parametrize('pool', ['first', 'last'])
@pytest.mark.parametrize('size', [(8, 8), (7, 5), (1, 3)])
def test_peds_halves_any_size(size, pool, residual):
    layer = MODELS.build(
        dict(type='PEDS', in_channels=4, embed_dims=6, pool=pool, residual=residual, **COMMON)
    )
    y = layer(spikes(2, 3, 4, *size) * 3)
    assert y.shape == (2, 3, 6, math.ceil(size[0] / 2), math.ceil(size[1] / 2))
    whole = torch.equal(y, y.round())
    assert whole == (residual == 'add')
    if residual == 'add':
        assert 0 <= y.min() <= y.max() <= 2


def test_peds_pools_where_it_is_told():
    for pool, expected in (('first', [True, False]), ('last', [False, True])):
        layer = MODELS.build(dict(type='PEDS', in_channels=4, embed_dims=6, pool=pool, **COMMON))
        assert [conv.pool is not None for conv in layer.convs] == expected


STEMS = {
    'imagenet': dict(type='PEDSStem', channels=[4, 8, 8], pools=[1, 1, 0], shortcut_from=1),
    'cifar': dict(type='PEDSStem', channels=[4, 8], pools=[0, 0], shortcut_from=1),
    'events': dict(type='PEDSStem', channels=[2, 4, 6, 8], pools=[0, 1, 1, 1], shortcut_from=2),
    'sps': dict(type='SPS', channels=[2, 4, 6, 8], pools=[0, 0, 1, 1]),
    'cml': dict(type='SPS', channels=[2, 4, 6, 8], pools=[0, 0, 1, 1], pool='before_neuron'),
}


@pytest.mark.parametrize('mode', ['train', 'eval'])
@pytest.mark.parametrize('name', STEMS)
def test_stem_computes_equal_steps_once(name, mode):
    """One step, expanded along time, equals T copies, running statistics included."""
    torch.manual_seed(0)
    once = MODELS.build(dict(in_channels=3, embed_dims=8, **STEMS[name], **COMMON)).double()
    each = MODELS.build(dict(in_channels=3, embed_dims=8, **STEMS[name], **COMMON)).double()
    each.load_state_dict(once.state_dict())
    once.train(mode == 'train'), each.train(mode == 'train')
    image = torch.randn(2, 3, 13, 18, dtype=torch.float64)
    y = once(image.expand(5, *image.shape))
    torch.testing.assert_close(y, each(image.repeat(5, 1, 1, 1, 1)), rtol=0, atol=1e-12)
    assert y.shape == (5, 2, 8, math.ceil(13 / once.stride), math.ceil(18 / once.stride))
    for key, value in each.state_dict().items():
        torch.testing.assert_close(once.state_dict()[key], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('momentum', [0.1, None])
def test_running_variance_counts_all_copies(momentum):
    one, many = nn.BatchNorm2d(3, momentum=momentum), nn.BatchNorm2d(3, momentum=momentum)
    for seed in range(3):
        x = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
        norm_of_copies(one, x, 4)
        many(x.repeat(4, 1, 1, 1))
    torch.testing.assert_close(one.running_var, many.running_var)
    torch.testing.assert_close(one.running_mean, many.running_mean)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(STEMS['cifar'], pools=[0]), r'pools=\[0\]: expected one entry'),
        (dict(STEMS['cifar'], channels=[4, 9]), r'channels=\[4, 9\]: expected the last'),
        (
            dict(STEMS['cifar'], shortcut_from=2),
            r'shortcut_from=2: expected an integer',
        ),
        (dict(STEMS['sps'], residual='membrane'), r"residual='membrane'"),
        (dict(type='PEDS', pool='middle'), r"pool='middle': expected"),
        (dict(type='PEDS', residual='none'), r"residual='none': expected"),
    ],
)
def test_bad_embeddings_are_named(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(in_channels=3, embed_dims=8, **COMMON, **cfg))


def block(residual='add', name='QKTokenAttention', branch=(), **kwargs):
    torch.manual_seed(0)
    return SpikingBlock(
        16,
        block=dict(
            attention=dict(type=name, **ATTENTIONS[name], **dict(branch)),
            mlp=dict(type='SpikingMLP', ratio=2),
        ),
        residual=residual,
        **COMMON,
        **kwargs,
    )


@pytest.mark.parametrize('name', ATTENTIONS)
def test_add_block_follows_its_equation(name):
    layer = block('add', name).eval()
    x = spikes(3, 2, 16, 4, 5)
    middle = x + layer.attention_neuron(layer.attention(x))
    expected = middle + layer.mlp_neuron(layer.mlp(middle))
    assert torch.equal(layer(x), expected)
    assert torch.equal(expected, expected.round())


@pytest.mark.parametrize('name', ATTENTIONS)
def test_membrane_block_fires_first_in_every_branch(name):
    layer = block('membrane', name).eval()
    x = torch.randn(3, 2, 16, 4, 5)
    middle = x + layer.attention(layer.attention_neuron(x))
    expected = middle + layer.mlp(layer.mlp_neuron(middle))
    assert torch.equal(layer(x), expected)


def test_leak_runs_over_the_flattened_batch():
    leak = dict(out_neuron=dict(type='BatchLeakingNeuron', neuron=NEURON))
    layer = block('add', 'SpikingSelfAttention', leak).eval()
    x = spikes(3, 2, 16, 4, 5)
    currents = layer.attention(x)
    fired = MODELS.build(NEURON)(merge_time(currents)).reshape(currents.shape)
    middle = x + fired
    assert torch.equal(layer(x), middle + layer.mlp_neuron(layer.mlp(middle)))


def test_drop_path_draws_once_per_sample():
    torch.manual_seed(0)
    x = torch.ones(4, 1000, 2, 1, 1)
    y = DropPath(0.25)(x)
    assert torch.equal(y, y[:1].expand_as(y))
    kept = y[0, :, 0].flatten()
    assert set(kept.tolist()) == {0.0, kept.max().item()}
    assert kept.max() == pytest.approx(4 / 3)
    assert (kept > 0).float().mean() == pytest.approx(0.75, abs=0.05)
    assert torch.equal(DropPath(0.25).eval()(x), x)
    with pytest.raises(ValueError, match=r'drop_path=1\.0'):
        DropPath(1.0)


def test_block_really_drops():
    layer = block(drop_path=0.999)
    x = spikes(2, 4, 16, 3, 3)
    torch.manual_seed(0)
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize('drop_path', [0.0, 0.5])
def test_checkpointing_changes_nothing(drop_path):
    results = []
    for call in (lambda f, x: f(x), checkpointed):
        layer = block('add', 'SpikingSelfAttention', drop_path=drop_path).double()
        x = spikes(3, 4, 16, 4, 4).double().requires_grad_()
        torch.manual_seed(1)
        y = call(layer, x)
        y.square().sum().backward()
        results.append(
            [y.detach(), x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()]
        )
    for plain, recomputed in zip(*results):
        assert torch.equal(plain, recomputed)
    assert layer.mlp.fc1.norm.num_batches_tracked == 1


def test_mlp_needs_a_hidden_channel():
    with pytest.raises(ValueError, match=r'ratio=0'):
        MODELS.build(dict(type='SpikingMLP', embed_dims=8, ratio=0, **COMMON))


def test_conv_without_neuron_returns_currents():
    conv = SpikingConv(3, 4, 3, norm_cfg=dict(type='BN')).eval()
    x = torch.randn(2, 3, 3, 6, 6)
    expected = conv.norm(conv.conv(x.flatten(0, 1))).unflatten(0, (2, 3))
    assert torch.equal(conv(x), expected)
