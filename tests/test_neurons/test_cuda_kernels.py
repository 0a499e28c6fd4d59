"""The CUDA kernels, as C++ on the CPU, against the reference: every line of them runs here."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import cuda_on_cpu
import pytest
import torch
from cuda_on_cpu import KERNELS, code_for, nvrtc
from kernel_cases import (
    DTYPES,
    INTEGERS,
    LAYOUTS,
    LEAKS,
    channels_last,
    check,
    currents,
    integrate_and_fire,
    run,
)
from mmengine.config import Config
from mmengine.registry import MODELS
from networks import awaken

from mmqkformer import kernels
from mmqkformer.kernels import OPTIONS
from mmqkformer.kernels import launch as kernel_launch
from mmqkformer.neurons import LIFNeuron, PLIFNeuron
from mmqkformer.neurons.backends.registry import _BACKENDS

ROOT = Path(__file__).parents[2]
needs_nvrtc = pytest.mark.skipif(nvrtc() is None, reason='nvidia-cuda-nvrtc-cu12 is not installed')


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('steps', [1, 4, 64])
def test_integrate_and_fire_equals_the_reference(backend, steps, dtype):
    x = currents(steps, 3, 17, dtype=dtype)
    for cfg in integrate_and_fire():
        spikes = check(cfg, x)
        assert 0.05 < spikes.double().mean() < 0.95
    assert set(backend.launcher.launched) == {'fire_forward', 'fire_backward'}
    assert backend.launcher.together == {1}


@pytest.mark.parametrize('cfg', list(integrate_and_fire())[::37], ids=str)
def test_code_for_one_neuron_alone_equals_the_reference(backend, cfg):
    backend.launcher.fixed = True
    check(cfg, currents(4, 3, 17))


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('cfg', [*LEAKS, *INTEGERS], ids=str)
def test_a_thread_takes_neighbours_where_they_fit(backend, cfg, dtype):
    x = currents(4, 3, 20, dtype=dtype)
    check(cfg, x)
    # Laid out as x, and gradients that begin in the middle of an access
    check(cfg, x, currents(4 * 60 + 1, dtype=dtype)[1:].view(4, 3, 20))
    assert backend.launcher.together == {1, 8 // x.element_size()}


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('steps', [1, 4, 64])
@pytest.mark.parametrize('cfg', INTEGERS, ids=str)
def test_integer_dynamics_equal_the_reference_bit_by_bit(backend, cfg, steps, dtype):
    x = currents(steps, 3, 17, dtype=dtype) / (4 if cfg['type'] == 'MultiSpikeNeuron' else 1)
    # Halves, and the ends of the window
    x[0, 0, :9] = torch.tensor([-0.1, 0, 0.5, 1.5, 2.5, 3.5, 4, 5, 8])
    grad_spikes = currents(*x.shape, dtype=dtype, seed=1)
    results = (run(cfg, x, grad_spikes, name) for name in ('cpu', 'torch'))
    for found, expected in zip(*results):
        assert torch.equal(found, expected)
    assert set(backend.launcher.launched) == {'integer_forward', 'integer_backward'}


def test_a_spike_at_the_threshold(backend):
    x = torch.tensor([[1.9999999, 2.0, 2.0000002]])
    assert MODELS.build(dict(type='LIFNeuron', backend='cpu'))(x).tolist() == [[0, 1, 1]]
    strict = MODELS.build(dict(type='LIFNeuron', backend='cpu', strict=True))
    assert strict(x).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize('cfg', [LEAKS[4], INTEGERS[1]], ids=str)
@pytest.mark.parametrize('layout', LAYOUTS)
def test_any_layout(backend, layout, cfg):
    x = LAYOUTS[layout]('cpu')
    spikes = check(cfg, x)
    # The next convolution takes what the last one gave
    if kernels.is_block(x[0]):
        assert spikes.stride()[1:] == x.stride()[1:]
    # Gradients come in layouts of their own
    check(cfg, x, torch.full(x.shape[-1:], 0.5).expand(x.shape))
    if x.dim() == 5:
        check(cfg, x, channels_last(currents(*x.shape, seed=2)))


@pytest.mark.parametrize('view', ['channels last', 'every other step'])
def test_a_layout_of_blocks_is_read_where_it_lies(view):
    x = LAYOUTS[view]('cpu')
    assert kernels.by_step(x) is x
    assert kernels.same_steps(x, x) is x


@pytest.mark.parametrize('shape', [(4, 0), (4, 0, 3, 5), (4, 2, 0, 5)])
@pytest.mark.parametrize('cfg', [LEAKS[4], INTEGERS[0]], ids=str)
def test_an_empty_batch(backend, cfg, shape):
    check(cfg, torch.empty(shape))
    assert backend.launcher.launched == []


def test_the_gradient_of_the_time_constant_is_deterministic_and_added_in_parts(backend):
    x = currents(4, 1000)
    grad = torch.ones_like(x)
    first, second = (run(LEAKS[4], x, grad, 'cpu')[2] for _ in range(2))
    assert torch.equal(first, second)
    assert backend.launcher.threads(1000) == 15


def test_half_precision_is_neither_widened_nor_kept_as_a_charge(backend):
    x = currents(4, 3, 5, dtype=torch.float16).requires_grad_()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        MODELS.build(dict(type='LIFNeuron', backend='cpu'))(x)
    assert [t.data_ptr() for t in saved] == [x.data_ptr()]


def test_64_bit_indices(backend):
    """Two steps that lie 2^31 elements apart, in memory of which two pages are touched."""
    far = torch.empty(2**31 + 8, dtype=torch.float16)
    x = far.as_strided((2, 8), (2**31, 1))
    x.copy_(currents(2, 8, dtype=torch.float16))
    check(dict(type='LIFNeuron'), x)


def test_every_half_is_converted_as_pytorch_does(backend):
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    for dtype in (torch.float16, torch.bfloat16):
        grad = bits.view(dtype)
        # Without a membrane the gradient of a spike inside the window is the gradient that came
        torch.testing.assert_close(through(grad), grad, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_rounding_to_half_is_that_of_pytorch(backend, dtype):
    generator = torch.Generator().manual_seed(0)
    scale = torch.randint(-30, 20, (20_000,), generator=generator).double().exp2()
    wide = (torch.randn(20_000, generator=generator, dtype=torch.float64) * scale).float()
    # The gain is the factor of the gradient, which float32 holds and then has to be rounded
    for gain in (1 / 3, 1.0001, 2.0**-10, 2.0**10, 65504.0):
        grad = wide.to(dtype)
        divisor = torch.tensor(4 / gain)
        assert torch.equal(through(grad, gain), (4.0 * (grad.float() / divisor)).to(dtype))


def through(grad, gain=1.0):
    x = torch.full((1, grad.numel()), 0.5, dtype=grad.dtype)
    cfg = dict(type='MultiSpikeNeuron', gain=gain)
    return run(cfg, x, grad[None], 'cpu')[1][0]


def test_not_a_number_does_not_fire(backend):
    x = torch.tensor([[torch.nan, torch.inf, -torch.inf, 3.0]])
    assert torch.equal(
        *(MODELS.build(dict(type='LIFNeuron', backend=name))(x) for name in ('cpu', 'torch'))
    )


def test_a_network_learns_alike(backend):
    cfg = Config.fromfile(ROOT / 'configs/qkformer/hst-3-128_1xb64_digits.py').model.backbone
    images = currents(2, 3, 16, 16, dtype=torch.float64)
    results = []
    for name in ('cpu', 'torch'):
        torch.manual_seed(0)
        neuron = dict(type='PLIFNeuron', backend=name)
        network = MODELS.build({**cfg, 'neuron': neuron}).double()
        rates = awaken(network, images).train()(images)[0]
        rates.square().sum().backward()
        results.append((rates.detach(), [p.grad for p in network.parameters()]))
    (rates, grads), (expected, expected_grads) = results
    assert rates.mean() > 0.05
    assert torch.equal(rates, expected)
    torch.testing.assert_close(grads, expected_grads, rtol=1e-9, atol=1e-9)
    assert len(backend.launcher.launched) > 20


def test_what_the_kernels_do_not_compute_is_left_to_the_reference(backend):
    assert not backend.supports(LIFNeuron().dynamics, torch.zeros(65, 1))
    assert not backend.supports(LIFNeuron().dynamics, torch.zeros(0, 1))
    assert not backend.supports(LIFNeuron().dynamics, torch.zeros(1, 1, dtype=torch.complex64))
    assert torch.equal(LIFNeuron()(torch.full((65, 1), 3.0)), torch.ones(65, 1))
    assert 'cupy' in _BACKENDS
    with pytest.raises(ValueError, match=r"backend='cupy': .* on cpu .* needs CuPy, and CUDA"):
        PLIFNeuron(backend='cupy')(torch.zeros(4, 1))


class RawModule:
    """CuPy's, as C++ on the CPU."""

    def __init__(self, code, options):
        self.code, self.macros = code, options[len(OPTIONS) :]
        assert options == (*OPTIONS, *self.macros)

    def get_function(self, kernel):
        assert self.code == kernels.source(kernel)

        def launch(grid, block, args):
            cuda_on_cpu.run(kernel, self.macros, grid[0] * block[0], args)

        return launch


@contextmanager
def entered(log, *names):
    log.append(names)
    yield
    log.append(('left', *names))


def test_cupy_is_given_grid_arguments_device_and_stream(backend, monkeypatch):
    log = []
    cuda = SimpleNamespace(
        Device=lambda index: entered(log, 'device', index),
        ExternalStream=lambda address, device: entered(log, 'stream', address, device),
        Stream=object,
    )
    cupy = SimpleNamespace(RawModule=RawModule, cuda=cuda)
    monkeypatch.setattr(kernel_launch, 'cupy_module', lambda: cupy)
    monkeypatch.setattr(kernel_launch.CupyLauncher, 'reaches', lambda self, x: True)
    stream = SimpleNamespace(cuda_stream=7)
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: stream)
    backend.launcher = kernel_launch.CupyLauncher()
    check(dict(type='PLIFNeuron'), currents(4, 3, 100))
    device, current = ('device', -1), ('stream', 7, -1)
    launch = [device, current, ('left', *current), ('left', *device)]
    compilation = [device, ('left', *device)]
    assert log == [*compilation, *launch, *compilation, *launch]


@needs_nvrtc
@pytest.mark.parametrize('kernel', KERNELS)
@pytest.mark.parametrize(('arch', 'together'), [(70, 4), (80, 1), (90, 4), (100, 4)])
def test_cards_have_code_for_every_kernel(arch, together, kernel):
    code = code_for(arch, kernel, torch.float16, 4, together)
    assert code.startswith(b'\x7fELF')
    assert f'.text.{kernel}\0'.encode() in code


@needs_nvrtc
@pytest.mark.parametrize('steps', [1, 4, 16, 64])
@pytest.mark.parametrize('dtype', DTYPES)
def test_a_card_has_code_for_every_type_and_number_of_steps(dtype, steps):
    assert code_for(80, 'fire_backward', dtype, steps, together=8 // dtype.itemsize)
