"""Fused kernels, as C++ on the CPU, against the modules that they stand for."""

import copy

import pytest
import torch
from kernel_cases import FUSED, LEAKS, TOLERANCE, channels_last, currents, trained_norm
from mmengine.registry import MODELS
from torch import nn

from mmqkformer.kernels import same_steps
from mmqkformer.neurons.fused import (
    fire_and_add,
    norm_and_fire,
    pool_and_fire,
    token_attention,
)

DTYPES = (torch.float32, torch.float64)
NEURONS = (
    *LEAKS,
    dict(type='PLIFNeuron', v_reset=None, detach_reset=False),
    dict(type='LIFNeuron', surrogate=dict(type='ATanSurrogate'), strict=True, v_threshold=0.5),
)
SHAPES = {
    'odd': lambda dtype: currents(4, 2, 6, 7, 5, dtype=dtype),
    'channels last': lambda dtype: channels_last(currents(4, 3, 6, 5, 7, dtype=dtype)),
    'one step': lambda dtype: currents(1, 2, 6, 4, 3, dtype=dtype),
    'neighbours': lambda dtype: currents(4, 3, 2, 4, 3, dtype=dtype),
    'neighbouring channels': lambda dtype: channels_last(currents(4, 2, 8, 5, 3, dtype=dtype)),
    'many steps': lambda dtype: currents(16, 1, 6, 3, 2, dtype=dtype),
    'one channel of a head': lambda dtype: currents(4, 2, 2, 3, 5, dtype=dtype),
    'channels outside': lambda dtype: currents(4, 6, 2, 4, 3, dtype=dtype).transpose(1, 2),
    'width outside': lambda dtype: currents(4, 5, 2, 6, 4, dtype=dtype).permute(0, 2, 3, 4, 1),
    'a slice': lambda dtype: currents(4, 2, 9, 4, 3, dtype=dtype)[:, :, 1:7],
    'steps apart': lambda dtype: currents(8, 2, 6, 4, 3, dtype=dtype)[::2],
    'an axis of stride 0': lambda dtype: currents(4, 72, dtype=dtype).as_strided(
        (4, 1, 6, 4, 3), (72, 0, 12, 3, 1)
    ),
}
# Every neuron on one shape, and every shape with one neuron
CASES = [*((neuron, 'odd') for neuron in NEURONS), *((NEURONS[5], shape) for shape in SHAPES)]


pytestmark = pytest.mark.usefixtures('backend')


def run(function, modules, inputs):
    """Outputs, and gradients of inputs and parameters."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    out = function(*modules, *leaves)
    parameters = [p for module in modules for p in module.parameters()]
    grad = currents(*out.shape, dtype=out.dtype, seed=9)
    return out.detach(), torch.autograd.grad(out, [*leaves, *parameters], grad)


def check(backend, kernel, function, expected, neuron, inputs, *others):
    """A fused function against modules, the reference's neuron among them."""
    dtype = inputs[0].dtype
    modules = [*others, MODELS.build(dict(neuron, backend='cpu'))]
    modules = [module.to(dtype) for module in modules]
    reference = copy.deepcopy(modules)
    reference[-1].backend = 'torch'
    out, grads = run(function, modules, inputs)
    assert backend.launcher.launched[0] == kernel
    expected_out, expected_grads = run(expected, reference, inputs)
    assert torch.equal(out, expected_out)
    if all(map(is_plain, inputs)) and len({x.stride() for x in inputs}) == 1:
        assert same_steps(out, expected_out) is out
    assert len(grads) == len(expected_grads)
    for grad, expected_grad in zip(grads, expected_grads):
        scale = 1 + expected_grad.abs().max().item()
        assert (grad - expected_grad).abs().max() <= 4 * TOLERANCE[dtype]['atol'] * scale
    return modules, reference


def is_plain(x):
    return x.is_contiguous() or x.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize(('neuron', 'shape'), CASES, ids=str)
def test_fire_and_add(backend, neuron, shape, dtype):
    x = SHAPES[shape](dtype)
    inputs = (x, currents(*x.shape, dtype=dtype, seed=3))
    check(backend, 'fire_forward', fire_and_add, lambda n, x, y: y + n(x), neuron, inputs)


def normalised(norm, neuron, x):
    """The norm in the kernels' order of operations, which is that of PyTorch on GPUs."""
    if norm.training:
        var, mean = torch.var_mean(x, (0, 1, 3, 4), correction=0, keepdim=True)
        # PyTorch's norm adds in another order; differences of numbers so close are exact
        running = (norm.running_mean, norm.running_var)
        found = torch.batch_norm_update_stats(x.detach().flatten(0, 1), *running, norm.momentum)
        norm.num_batches_tracked += 1
        mean, var = (
            ours + (theirs.view(-1, 1, 1) - ours.detach())
            for ours, theirs in zip((mean, var), found)
        )
    else:
        var, mean = (v.view(-1, 1, 1) for v in (norm.running_var, norm.running_mean))
    weight, bias = (p.view(-1, 1, 1) for p in (norm.weight, norm.bias))
    return neuron(weight * (x - mean) * (var + norm.eps).rsqrt() + bias)


def of_modules(norm, neuron, x):
    return neuron(norm(x.flatten(0, 1)).unflatten(0, x.shape[:2]))


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize(('neuron', 'shape'), CASES, ids=str)
def test_norm_and_fire(backend, neuron, shape, dtype, training):
    x = SHAPES[shape](dtype)
    norm = trained_norm(x.size(2)).train(training)
    # In float32 PyTorch's norm rounds otherwise on a CPU; in float64 no spike is that close
    expected = normalised if dtype == torch.float32 else of_modules
    modules, reference = check(
        backend, 'norm_fire_forward', norm_and_fire, expected, neuron, (x,), norm
    )
    for buffer, expected_buffer in zip(modules[0].buffers(), reference[0].buffers()):
        torch.testing.assert_close(buffer, expected_buffer)


def test_a_norm_without_weights(backend):
    norm = nn.BatchNorm2d(6, affine=False)
    x = SHAPES['odd'](torch.float64)
    check(backend, 'norm_fire_forward', norm_and_fire, of_modules, LEAKS[1], (x,), norm)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_statistics_of_half_precision_are_float32(backend, dtype):
    x = SHAPES['channels last'](dtype)
    neuron = MODELS.build(dict(type='LIFNeuron', backend='cpu'))
    norm, wide_norm = trained_norm(6), trained_norm(6)
    spikes = norm_and_fire(norm, neuron, x)
    assert torch.equal(spikes.float(), norm_and_fire(wide_norm, neuron, x.float()))
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_var, wide_norm.running_var)
    assert norm.running_var.dtype == torch.float32


def test_a_norm_of_one_channel(backend):
    x = currents(4, 30, dtype=torch.float64).as_strided((4, 2, 1, 3, 5), (30, 15, 0, 5, 1))
    norm = nn.BatchNorm2d(1)
    check(backend, 'norm_fire_forward', norm_and_fire, of_modules, LEAKS[4], (x,), norm)


@pytest.mark.parametrize('heads', [1, 2])
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize(('neuron', 'shape'), CASES, ids=str)
def test_token_attention(backend, neuron, shape, dtype, heads):
    x = SHAPES[shape](dtype)
    query, key = (x > 1.5).to(x), (currents(*x.shape, seed=3) > 1).to(x)

    def expected(neuron, query, key):
        sums = query.unflatten(2, (heads, -1)).sum(3)
        return key * neuron(sums).repeat_interleave(x.size(2) // heads, 2)

    def fused(neuron, query, key):
        return token_attention(neuron, query, key, heads)

    check(backend, 'token_attention_forward', fused, expected, neuron, (query, key))


POOLS = (
    nn.MaxPool2d(3, stride=2, padding=1),
    nn.MaxPool2d(2, ceil_mode=True),
    nn.MaxPool2d(3, stride=1, padding=1),
    nn.MaxPool2d(2, stride=3),
)


@pytest.mark.parametrize('pool', POOLS, ids=str)
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize(('neuron', 'shape'), CASES, ids=str)
def test_pool_and_fire(backend, neuron, shape, dtype, pool):
    # Multiples of a half: of equal ones the first has the gradient. In place: the layout stays
    x = SHAPES[shape](dtype).mul_(2).round_().div_(2)
    check(backend, 'pool_fire_forward', pool_and_fire, of_modules, neuron, (x,), pool)


def test_not_a_number_is_pooled(backend):
    x = torch.tensor([[[[[0.0, torch.nan], [3.0, 4.0]]]]])
    neuron = MODELS.build(dict(type='IFNeuron', backend='cpu'))
    assert pool_and_fire(nn.MaxPool2d(2), neuron, x).item() == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', FUSED)
@pytest.mark.parametrize('shape', ['channels last', 'neighbours', 'neighbouring channels'])
def test_half_precision_is_rounded_at_the_end_alone(backend, shape, name, dtype):
    x = SHAPES[shape](dtype).requires_grad_()
    wide = x.detach().float().requires_grad_()
    neuron = MODELS.build(dict(type='PLIFNeuron', backend='cpu'))
    out, expected = FUSED[name](neuron, x), FUSED[name](neuron, wide)
    assert torch.equal(out, expected.to(dtype))
    grad = currents(*out.shape, dtype=dtype, seed=9)
    grads = torch.autograd.grad(out, [x, neuron.w], grad)
    expected_grads = torch.autograd.grad(expected, [wide, neuron.w], grad.float())
    if shape == 'neighbouring channels':
        assert 4 in backend.launcher.together
    # Added by autograd, in half precision, where x has two uses; pooled ones on their way
    ulp = 2 * torch.finfo(dtype).eps
    torch.testing.assert_close(grads[0].float(), expected_grads[0], rtol=ulp, atol=4 * ulp)
    torch.testing.assert_close(grads[1], expected_grads[1])


@pytest.mark.parametrize('name', FUSED)
@pytest.mark.parametrize(
    'cfg', [dict(type='LIFNeuron', backend='torch'), dict(type='ILIFNeuron', backend='cpu')]
)
def test_what_no_kernel_computes_is_left_to_the_modules(backend, name, cfg):
    x = SHAPES['odd'](torch.float32)
    neuron = MODELS.build(cfg)
    out = FUSED[name](neuron, x)
    assert 'integer_forward' in backend.launcher.launched or not backend.launcher.launched
    neuron.backend = 'torch'
    assert torch.equal(out, FUSED[name](neuron, x))


@pytest.mark.parametrize('name', FUSED)
def test_a_sum_does_not_depend_on_the_order_of_threads(name):
    x = SHAPES['odd'](torch.float32).requires_grad_()
    neuron = MODELS.build(dict(type='PLIFNeuron', backend='cpu'))
    first, second = (
        torch.autograd.grad(FUSED[name](neuron, x).sum(), [x, neuron.w]) for _ in range(2)
    )
    assert all(map(torch.equal, first, second))
