"""Spatial-temporal self attention: each sample by the release's equations, windows, dropout."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmqkformer.layers import SpikingConv

NEURON = dict(type='LIFNeuron', tau=2.0, decay_input=False, strict=True)
COMMON = dict(neuron=NEURON, norm_cfg=dict(type='BN'))
T, C, H, W = 3, 8, 2, 5


def build(window=(T, H, W), num_heads=2):
    torch.manual_seed(0)
    layer = MODELS.build(
        dict(
            type='SpatialTemporalSelfAttention',
            embed_dims=C,
            num_heads=num_heads,
            window=window,
            **COMMON,
        )
    ).double()
    nn.init.constant_(layer.qkv.norm.weight, 4.0)
    nn.init.normal_(layer.position_bias)
    return layer.eval()


def spikes(*shape):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.3).double()


def one_by_one(layer, x):
    """Sample by sample, token by token."""
    out = []
    for sample in x.unbind(1):
        read = sample.reshape(1, C, T, H * W)
        rows = layer.qkv(read.permute(2, 0, 1, 3)[..., None])[:, 0, :, :, 0]  # [T, 3C, N]
        q, k, v = (part.unflatten(1, (2, -1)) for part in rows.chunk(3, 1))  # [T, h, d, N]
        product = torch.zeros_like(q)
        bias = layer.position_bias.view(2 * T - 1, 2 * H - 1, 2 * W - 1, 2)
        for t in range(T):
            for n in range(H * W):
                for s in range(t + 1):
                    for m in range(H * W):
                        place = t - s + T - 1, n // W - m // W + H - 1, n % W - m % W + W - 1
                        score = (q[t, ..., n] * k[s, ..., m]).sum(1) + bias[place]
                        product[t, ..., n] += 0.125 * score[:, None] * v[s, ..., m]
        out.append(product.flatten(1, 2).unflatten(2, (H, W)))
    return layer.proj(layer.product_neuron(torch.stack(out, 1)))


def test_each_sample_is_what_the_release_computes_of_it_alone():
    layer, x = build(), spikes(T, 2, C, H, W)
    torch.testing.assert_close(layer(x), one_by_one(layer, x))
    assert layer.product_neuron.dynamics.v_threshold == 1.0


def test_a_query_sees_no_later_step():
    layer, maps = build(), []
    layer.attention_map.register_forward_hook(lambda module, args, out: maps.append(out))
    layer(spikes(T, 2, C, H, W))
    (found,) = maps
    assert found.shape == (2, 2, T * H * W, T * H * W)
    steps = torch.arange(T).repeat_interleave(H * W)
    later = steps > steps[:, None]
    assert (found[..., later] == 0).all()
    assert (found[..., ~later] != 0).all()


def test_smaller_inputs_take_the_middle_of_the_differences():
    layer, small = build((T + 1, H + 2, W + 3)), build()
    table = layer.position_bias.view(2 * T + 1, 2 * H + 3, 2 * W + 5, 2)
    small.load_state_dict(
        {
            **layer.state_dict(),
            'position_bias': table[1:-1, 2:-2, 3:-3].reshape(-1, 2),
        }
    )
    x = spikes(T, 2, C, H, W)
    assert torch.equal(layer(x), small(x))


@pytest.mark.parametrize('grid', [(T + 1, H, W), (T, H + 1, W), (T, H, W + 1)])
def test_larger_inputs_are_refused(grid):
    steps, rows, columns = grid
    message = rf'input of {steps} steps and {rows} x {columns} tokens: expected at most 3 steps'
    with pytest.raises(ValueError, match=message):
        build()(spikes(steps, 1, C, rows, columns))


@pytest.mark.parametrize('window', [(3, 2), (3, 2, 0), 3, (4096, 4096, 4096)])
def test_a_wrong_window_is_refused(window):
    with pytest.raises(ValueError, match=r'^window'):
        build(window)


def test_dropout_is_between_convolution_and_norm_and_differs_from_step_to_step():
    conv = SpikingConv(4, 4, 1, drop=0.5, norm_cfg=dict(type='BN'))
    image = torch.randn(2, 4, 6, 6).expand(3, 2, 4, 6, 6)
    seen = []
    conv.norm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    steps = conv(image)
    assert not torch.equal(steps[0], steps[1])
    assert (seen[0] == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    steps = conv.eval()(image)
    assert torch.equal(steps[0], steps[1])
    assert len(seen[1]) == 2  # one step of the image
