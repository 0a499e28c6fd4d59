"""On a GPU with CuPy: the kernels against the reference on the CPU, streams and CUDA graphs."""

import pytest
import torch
from kernel_cases import (
    DTYPES,
    FUSED,
    INTEGERS,
    LAYOUTS,
    LEAKS,
    channels_last,
    check,
    currents,
    integrate_and_fire,
    run,
)
from mmengine.registry import MODELS

from mmqkformer.neurons.backends.cupy import CupyBackend
from mmqkformer.neurons.backends.registry import choose_backend
from mmqkformer.saved.bits import pack, unpack

pytest.importorskip('cupy')
HALF_AND_FLOAT = (torch.float16, torch.float32)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('steps', [1, 4, 64])
def test_integrate_and_fire_equals_the_reference(steps, dtype):
    x = currents(steps, 3, 317, dtype=dtype).cuda()
    for cfg in integrate_and_fire():
        check(cfg, x, backend='cupy')


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('steps', [1, 4, 64])
@pytest.mark.parametrize('cfg', INTEGERS, ids=str)
def test_integer_dynamics_equal_the_reference(cfg, steps, dtype):
    check(cfg, currents(steps, 3, 317, dtype=dtype).cuda(), backend='cupy')


@pytest.mark.parametrize('cfg', [LEAKS[4], INTEGERS[1]], ids=str)
@pytest.mark.parametrize('layout', LAYOUTS)
def test_any_layout(layout, cfg):
    check(cfg, LAYOUTS[layout]('cuda'), backend='cupy')


@pytest.mark.parametrize('cfg', [LEAKS[4], INTEGERS[0]], ids=str)
def test_an_empty_batch(cfg):
    check(cfg, torch.empty(4, 0, 3, device='cuda'), backend='cupy')


def test_more_neurons_than_threads_and_the_same_bits_twice():
    x = currents(2, 2**21 + 3).cuda()
    grad = torch.ones_like(x)
    first, second = (run(LEAKS[4], x, grad, 'cupy') for _ in range(2))
    assert all(map(torch.equal, first, second))
    check(LEAKS[4], x, backend='cupy')


def test_more_than_2_to_the_31_elements():
    if torch.cuda.mem_get_info()[0] < 20 * 2**30:
        pytest.skip('needs 20 GiB of free memory')
    x = torch.zeros(2, 2**30 + 5, dtype=torch.float16, device='cuda')
    x[:, -5:] = 3
    with torch.no_grad():
        spikes = MODELS.build(dict(type='LIFNeuron', backend='cupy'))(x)
    assert spikes[:, -5:].all()
    assert spikes.count_nonzero() == 10


def test_auto_takes_it():
    dynamics = MODELS.build(dict(type='LIFNeuron')).dynamics
    backend, given = choose_backend('auto', dynamics, torch.zeros(4, 2).half().cuda())
    assert isinstance(backend, CupyBackend)
    assert given.dtype == torch.float16


def test_a_graph_captures_forward_and_backward_on_a_stream_of_its_own():
    neuron = MODELS.build(dict(type='PLIFNeuron', backend='cupy')).cuda()
    x = currents(4, 1000).cuda().requires_grad_()
    grad = torch.ones_like(x)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.autograd.grad(neuron(x), [x, neuron.w], grad)  # compiles
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        spikes = neuron(x)
        grads = torch.autograd.grad(spikes, [x, neuron.w], grad)
    with torch.no_grad():
        x.copy_(currents(4, 1000, seed=5))
    graph.replay()
    expected = neuron(x)
    assert torch.equal(spikes, expected)
    assert all(map(torch.equal, grads, torch.autograd.grad(expected, [x, neuron.w], grad)))


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('bits', [1, 3, 8])
def test_whole_numbers_are_packed_and_come_back(bits, dtype):
    codes = torch.randint(0, 2**bits, (100_003,), device='cuda').to(dtype)
    planes = pack(codes, bits)
    assert planes.numel() <= bits * (100_003 // 8 + 4)
    assert torch.equal(unpack(planes, codes.numel(), dtype), codes)


@pytest.mark.parametrize('memory', ['packed', 'recompute'])
def test_a_network_learns_alike_whatever_it_keeps(memory):
    images = torch.randn(4, 3, 32, 32, device='cuda')
    results = []
    for kept in (None, memory):
        torch.manual_seed(0)
        network = MODELS.build(dict(type='QKFormer', arch='hst-2-256', memory=kept)).cuda().train()
        with torch.autocast('cuda', torch.float16):
            rates = network(images)[0]
        rates.float().square().sum().backward()
        results.append([rates, *(p.grad for p in network.parameters() if p.grad is not None)])
    assert results[0][0].count_nonzero() > 0
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize('shape', [(4, 8, 6, 33, 17), (1, 3, 6, 5, 4), (16, 2, 6, 9, 9)])
@pytest.mark.parametrize('name', FUSED)
def test_fused_kernels_equal_the_modules_on_the_cpu(name, shape):
    x = currents(*shape, dtype=torch.float64)
    results = []
    for device, backend in (('cuda', 'cupy'), ('cpu', 'torch')):
        neuron = MODELS.build(dict(type='PLIFNeuron', backend=backend)).double().to(device)
        leaf = x.to(device).requires_grad_()
        out = FUSED[name](neuron, leaf)
        grad = currents(*out.shape, dtype=torch.float64, seed=9).to(device)
        grads = torch.autograd.grad(out, [leaf, neuron.w], grad)
        results.append([out.detach().cpu(), *(g.cpu() for g in grads)])
    (out, *grads), (expected, *expected_grads) = results
    assert torch.equal(out, expected)
    torch.testing.assert_close(grads, expected_grads, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('name', FUSED)
def test_fused_kernels_run_in_half_precision_and_channels_last(name):
    x = channels_last(currents(4, 8, 6, 33, 17, dtype=torch.float16).cuda())
    neuron = MODELS.build(dict(type='LIFNeuron', backend='cupy'))
    assert torch.equal(FUSED[name](neuron, x), FUSED[name](neuron, x.float()).half())


def test_a_warp_shares_the_channels_of_a_token():
    x = channels_last(currents(4, 3, 200, 9, 7, dtype=torch.float64))
    spikes = (x > 1.5).to(x)
    grad = channels_last(currents(*x.shape, dtype=torch.float64, seed=9))
    results = []
    for device, backend in (('cuda', 'cupy'), ('cpu', 'torch')):
        cfg = dict(type='PLIFNeuron', backend=backend, v_threshold=20.0)
        neuron = MODELS.build(cfg).double().to(device)
        leaf = spikes.to(device).requires_grad_()
        out = FUSED['token_attention'](neuron, leaf)
        grads = torch.autograd.grad(out, [leaf, neuron.w], grad.to(device))
        results.append([y.detach().cpu() for y in (out, *grads)])
    (out, *grads), (expected, *expected_grads) = results
    assert 0.1 < expected.count_nonzero() / spikes.count_nonzero() < 0.9
    assert torch.equal(out, expected)
    torch.testing.assert_close(grads, expected_grads, rtol=1e-10, atol=1e-10)
    neuron = MODELS.build(dict(cfg, backend='cupy')).cuda()
    half, wide = (FUSED['token_attention'](neuron, spikes.cuda().to(t)) for t in HALF_AND_FLOAT)
    assert torch.equal(half.float(), wide)
