"""LSQ: equal to its equations, layer by layer."""

import copy

import pytest
import torch
from processes import run_two_processes
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmqkformer.layers import LSQ, RepConv
from mmqkformer.layers.quant import (
    codes,
    dequantise,
    quantise,
    quantised_layers,
    values,
)


def reference(weight, step, bits):
    """LSQ's equations by autograd alone: straight-through rounding behind the clamp."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = (weight.numel() * high) ** -0.5
    step = step * scale + (step - step * scale).detach()
    step = step.reshape(-1, *[1] * (weight.dim() - 1))
    clamped = (weight / step).clamp(low, high)
    return (clamped + (clamped.round() - clamped).detach()) * step


@pytest.mark.parametrize('shape', [(5, 7), (4, 3, 3, 3), (6, 2, 5)])
@pytest.mark.parametrize('bits', [2, 3, 4, 8])
def test_values_and_gradients_are_those_of_the_equations(bits, shape):
    torch.manual_seed(bits)
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    step = (torch.rand(shape[0], dtype=torch.float64) + 0.5).div(2 ** (bits - 1)).requires_grad_()
    grad = torch.randn(shape, dtype=torch.float64)
    found, expected = quantise(weight, step, bits), reference(weight, step, bits)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    wanted = torch.autograd.grad(expected, (weight, step), grad)
    given = torch.autograd.grad(found, (weight, step), grad)
    torch.testing.assert_close(given, wanted, rtol=1e-10, atol=1e-12)
    clipped = given[0] == 0
    assert 0 < clipped.sum() < clipped.numel()
    assert torch.equal(given[0][~clipped], grad[~clipped])
    levels = codes(weight, step, bits)
    assert (levels.min(), levels.max()) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    torch.testing.assert_close(values(levels, step), found, rtol=0, atol=0)


def test_the_gradient_of_a_step_is_the_slope_where_all_weights_are_clipped():
    """There the result is no staircase, so that differences tell its slope."""
    weight = torch.tensor([[9.0, -9.0, 8.0], [20.0, -8.6, 9.0]], dtype=torch.float64)
    step = torch.tensor([1.0, 1.05], dtype=torch.float64, requires_grad=True)
    mix = torch.randn(2, 3, dtype=torch.float64)
    (grad,) = torch.autograd.grad((quantise(weight, step, 4) * mix).sum(), step)
    tiny = 1e-6
    for channel in range(2):
        moved = [step.detach().clone() for _ in range(2)]
        moved[0][channel] += tiny
        moved[1][channel] -= tiny
        up, down = ((quantise(weight, s, 4) * mix).sum() for s in moved)
        slope = (up - down) / (2 * tiny)
        torch.testing.assert_close(grad[channel], slope * (6 * 7) ** -0.5, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    ('layer', 'shape'),
    [
        (nn.Conv1d(4, 6, 3, groups=2), (2, 4, 9)),
        (nn.Conv2d(4, 6, 3, 2, 1, padding_mode='circular'), (2, 4, 9, 8)),
        (nn.Conv3d(4, 6, 3, bias=False), (2, 4, 5, 5, 5)),
        (nn.Linear(4, 6), (2, 3, 4)),
    ],
)
def test_a_layer_computes_with_multiples_of_its_steps(layer, shape):
    x = torch.randn(shape)
    LSQ()(layer, 'layer')
    plain = copy.deepcopy(layer)
    dequantise(plain)
    assert type(plain).__name__ in type(layer).__name__
    assert set(dict(plain.named_parameters())) <= {'weight', 'bias'}
    assert torch.equal(layer(x), plain(x))
    levels = layer.quantised_weight() / layer.alpha[0]
    torch.testing.assert_close(levels, levels.round())
    assert levels.round().unique().numel() > 4
    assert 'bits=4' in repr(layer)


def test_rep_conv_is_quantised_layer_by_layer():
    layer = RepConv(8, dict(type='BN'))
    LSQ(bits=3)(layer, 'conv')
    assert list(quantised_layers(layer)) == ['mix', 'depthwise', 'pointwise']
    layer(torch.randn(2, 8, 5, 5)).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_shared_layers_and_weights_have_one_step():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    model = nn.Sequential(first, second, first)
    LSQ()(model, 'model')
    assert first.alpha is second.alpha
    assert len(list(model.parameters())) == 4
    model(torch.randn(2, 4)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert torch.equal(first.quantised_weight(), second.quantised_weight())


class Custom(nn.Linear):
    """Might use its weight in any way."""


@pytest.mark.parametrize(
    ('module', 'message'),
    [
        (nn.Sequential(nn.ConvTranspose2d(2, 2, 3)), r'^part\.0 is a ConvTranspose2d: expected'),
        (nn.Sequential(nn.Linear(2, 2), Custom(2, 2)), r'^part\.1 is a Custom: expected one of'),
        (nn.MultiheadAttention(4, 2), r'^part\.out_proj is a NonDynamicallyQuantizableLinear'),
        (nn.ReLU(), r'^part has no convolution and no linear layer'),
    ],
)
def test_what_cannot_be_quantised_is_named(module, message):
    before = [type(m) for m in module.modules()]
    with pytest.raises(ValueError, match=message):
        LSQ()(module, 'part')
    assert [type(m) for m in module.modules()] == before


def test_a_second_time_is_refused():
    layer = nn.Linear(2, 2)
    LSQ()(layer, 'fc')
    with pytest.raises(ValueError, match=r'^fc is a QuantisedLinear'):
        LSQ()(layer, 'fc')


def perceptron():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    LSQ()(model, 'model')
    return model


def train(model, x, y):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()


def batch():
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(8, n, dtype=torch.float64, generator=generator) for n in (6, 4))


def one_of_two_processes(rank, folder):
    model = perceptron()
    x, y = batch()
    train(DistributedDataParallel(model), x[4 * rank : 4 * rank + 4], y[4 * rank : 4 * rank + 4])
    torch.save(model.state_dict(), folder / f'{rank}.pt')


def test_two_processes_train_as_one(tmp_path):
    run_two_processes(one_of_two_processes, tmp_path)
    model = perceptron()
    train(model, *batch())
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, dict(model.state_dict()), rtol=1e-10, atol=1e-12)
    assert not torch.equal(model[0].alpha, perceptron()[0].alpha)
