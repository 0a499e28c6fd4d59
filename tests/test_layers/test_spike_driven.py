"""Parts of the spike-driven transformers: equal to their equations, linear where they say so."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from torch.nn import functional as F

from mmqkformer.build import build_part
from mmqkformer.layers import PointwiseRepConv, RepConv, merge_time

NORM = dict(type='BN')
COMMON = dict(neuron=dict(type='LIFNeuron', tau=2.0), norm_cfg=NORM)


def spikes(*shape, rate=0.3):
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(shape, generator=generator) < rate).double()


def build(name, dims=16, **kwargs):
    torch.manual_seed(0)
    return MODELS.build(dict(type=name, embed_dims=dims, **COMMON, **kwargs)).double()


def random_norms(module):
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (norm.bias.data, norm.running_mean):
                tensor.normal_()
    return module


def awake(layer):
    """Layers that fire often, so that sums and masks are not all alike."""
    for norm in layer.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.constant_(norm.weight, 4.0)
    return layer


def test_a_channel_passes_where_keys_and_values_met():
    layer = awake(build('SpikeDrivenSelfAttention', v_threshold=1.5))
    maps = []
    layer.attention_map.register_forward_hook(lambda module, args, out: maps.append(out))
    x = spikes(3, 2, 16, 3, 4)
    q, k, v = (f(x) for f in (layer.query, layer.key, layer.value))
    mask = layer.mask_neuron(torch.einsum('tbchw,tbchw->tbc', k, v))[..., None, None]
    assert 0 < mask.mean() < 1
    torch.testing.assert_close(layer(x), layer.proj(q * mask))
    assert torch.equal(maps[0], mask)


def test_the_masks_threshold_is_a_half_by_default():
    layer = build('SpikeDrivenSelfAttention')
    # A leaky neuron fires at once from 2 x the threshold: at one meeting of key and value
    counts = torch.tensor([0.0, 1.0], dtype=torch.float64)[None]
    assert layer.mask_neuron(counts).tolist() == [[0.0, 1.0]]


def test_dilation_is_over_pixels_and_then_over_tokens_and_channels_of_a_head():
    layer = awake(build('SpikeDrivenSelfAttention', dilation_heads=4, v_threshold=4.0))
    x = spikes(2, 3, 16, 3, 4)
    q, k, v = (f(x) for f in (layer.query, layer.key, layer.value))

    def over_pixels(y):
        return F.max_pool3d(y, (1, 3, 3), stride=1, padding=(0, 1, 1))

    def over_tokens(y):
        tokens = y.flatten(3).transpose(2, 3).unflatten(3, (4, 4)).transpose(2, 3)  # T B h N d
        tokens = over_pixels(tokens)
        return tokens.transpose(2, 3).flatten(3).transpose(2, 3).reshape(y.shape)

    products = over_tokens(over_pixels(k) * over_pixels(v))
    mask = layer.mask_neuron(products.sum((3, 4), keepdim=True))
    expected = over_tokens(q * mask)
    assert not torch.equal(expected, q * mask)
    torch.testing.assert_close(layer(x), layer.proj(expected))


def test_dilation_needs_heads_that_divide_the_channels():
    with pytest.raises(ValueError, match='dilation_heads=3: expected a divisor of embed_dims=16'):
        build('SpikeDrivenSelfAttention', dilation_heads=3)


def test_a_rep_conv_in_eval_mode_is_one_convolution():
    conv = random_norms(RepConv(6, NORM).double()).eval()
    inner, outer = conv.border.norm, conv.norm
    scale = [n.weight / (n.running_var + n.eps).sqrt() for n in (inner, outer)]
    shift = [n.bias - n.running_mean * s for n, s in zip((inner, outer), scale)]
    mix, point = conv.mix.weight[:, :, 0, 0], conv.pointwise.weight[:, :, 0, 0]
    depth = conv.depthwise.weight[:, 0]
    kernel = torch.einsum('o,om,mhw,m,mi->oihw', scale[1], point, depth, scale[0], mix)
    bias = scale[1] * (point @ (depth.sum((1, 2)) * shift[0])) + shift[1]
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(conv(x), F.conv2d(x, kernel, bias, padding=1))


def test_the_border_is_that_of_the_updated_statistics_and_has_no_gradient():
    border = random_norms(RepConv(4, NORM).double()).border.train()
    norm = border.norm
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    y = border(x)
    expected = norm.bias - norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt()
    assert y.shape == (3, 4, 7, 8)
    torch.testing.assert_close(y[:, :, 0], expected[None, :, None].expand(3, 4, 8))
    inside = F.batch_norm(x, None, None, norm.weight, norm.bias, True)
    torch.testing.assert_close(y[:, :, 1:-1, 1:-1], inside)
    assert norm.num_batches_tracked == 1
    frame = torch.ones_like(y)
    frame[:, :, 1:-1, 1:-1] = 0
    (y * frame).sum().backward()
    assert norm.bias.grad.abs().max() == 0


@pytest.mark.parametrize('norm_cfg', [dict(type='GN', num_groups=2), dict(type='BN', affine=False)])
def test_a_rep_conv_needs_a_batch_norm(norm_cfg):
    with pytest.raises(ValueError, match=r'norm_cfg=.*: expected a batch norm with weights'):
        RepConv(4, norm_cfg)


def test_rep_conv_attention_is_ssa_on_rep_convs_without_biases():
    layer = build('RepConvSelfAttention', num_heads=4)
    for part in (layer.query, layer.key, layer.value, layer.proj):
        assert isinstance(part.conv, RepConv)
        assert all(m.bias is None for m in part.modules() if isinstance(m, nn.Conv2d))
    cfg = dict(type='RepConvSelfAttention', num_heads=2, qkv_bias=True)
    with pytest.raises(ValueError, match='qkv_bias=True: RepConvSelfAttention knows no such key'):
        build_part('attention', cfg, embed_dims=8, **COMMON)


def test_sep_conv_follows_its_equation():
    layer = random_norms(build('SepConv', 8)).eval()
    x = spikes(3, 2, 8, 5, 4)
    hidden = layer.expand(x)
    assert hidden.shape[2] == 16
    weight = layer.depthwise.weight
    assert weight.shape == (16, 1, 7, 7)
    y = F.conv2d(merge_time(hidden), weight, padding=3, groups=16).view_as(hidden)
    assert torch.equal(layer(x), layer.reduce(y))


def test_the_convolution_branch_is_dense_and_has_no_bias():
    layer = build('ConvBranch', 8).eval()
    x = spikes(3, 2, 8, 5, 4)
    assert layer.conv1.conv.weight.shape == (32, 8, 3, 3)
    assert layer.conv2.conv.weight.shape == (8, 32, 3, 3)
    assert layer.conv1.conv.bias is layer.conv2.conv.bias is None
    assert torch.equal(layer(x), layer.conv2(layer.conv1(x)))


def test_a_separable_convolution_that_fires_twice():
    layer = random_norms(build('SepConv', 8, kernel_size=3, fire=True)).eval()
    x = spikes(3, 2, 8, 5, 4)
    depthwise = layer.depthwise
    assert depthwise.conv.weight.shape == (16, 1, 3, 3)
    currents = depthwise.norm(depthwise.conv(merge_time(layer.expand(x)))).view(3, 2, 16, 5, 4)
    assert torch.equal(layer(x), layer.reduce(depthwise.neuron(currents)))


def test_a_convolution_branch_without_its_neuron_is_linear():
    layer = random_norms(build('ConvBranch', 8, ratio=1, kernel_size=1, fire=False)).eval()
    assert layer.conv1.neuron is None
    x, y = spikes(3, 2, 8, 5, 4), spikes(3, 2, 8, 5, 4, rate=0.6)
    nothing = layer(torch.zeros_like(x))
    torch.testing.assert_close(layer(x) + layer(y), layer(x + y) + nothing)
    biased = build('ConvBranch', 8, bias=True)
    assert (biased.conv1.conv.bias.shape, biased.conv2.conv.bias.shape) == ((32,), (8,))


def test_a_pointwise_rep_conv_in_eval_mode_is_one_matrix():
    layer = build('PointwiseRepConvSelfAttention', num_heads=4)
    conv = random_norms(layer.query.conv).eval()
    assert isinstance(conv, PointwiseRepConv)
    scale = [n.weight / (n.running_var + n.eps).sqrt() for n in (conv.inner_norm, conv.norm)]
    expand, reduce = conv.expand.weight[:, :, 0, 0], conv.reduce.weight[:, :, 0, 0]
    assert expand.shape == (24, 16)
    matrix = scale[1][:, None] * reduce @ (scale[0][:, None] * expand)
    x = torch.randn(2, 16, 5, 7, dtype=torch.float64)
    found = conv(x) - conv(torch.zeros_like(x))
    torch.testing.assert_close(found, torch.einsum('oi,bihw->bohw', matrix, x))


@pytest.mark.parametrize('name', ['SepConv', 'ConvBranch'])
def test_an_even_kernel_is_refused(name):
    with pytest.raises(ValueError, match='kernel_size=4: expected an odd number'):
        build(name, 8, kernel_size=4)
