"""Kernels through PyTorch's compiler: the spikes of the reference, and when they are chosen."""

import threading
import time
import warnings

import pytest
import torch
from kernel_cases import INTEGERS, LAYOUTS, LEAKS, RESETS, channels_last, check, currents
from mmengine.registry import MODELS

from mmqkformer.neurons.backends import choose_backend, compiled
from mmqkformer.neurons.backends.compiled import CompiledBackend
from mmqkformer.neurons.backends.registry import _BACKENDS

LIF = dict(type='LIFNeuron')


@pytest.fixture
def fresh(monkeypatch):
    """The backend as in a new process, which compiles anew."""
    backend = CompiledBackend()
    monkeypatch.setitem(_BACKENDS, 'compiled', backend)
    return backend


@pytest.mark.parametrize('cfg', [*LEAKS, *INTEGERS], ids=str)
def test_neurons_equal_the_reference(cfg):
    check(cfg, currents(4, 3, 17, dtype=torch.float32), backend='compiled')


@pytest.mark.parametrize('reset', RESETS, ids=str)
def test_resets_equal_the_reference(reset):
    cfg = dict(LIF, **reset, strict=True, detach_reset=False)
    check(cfg, currents(3, 50, dtype=torch.float64), backend='compiled')


@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_layout_is_read(layout):
    check(LIF, LAYOUTS[layout]('cpu'), backend='compiled')


@pytest.mark.parametrize('time_steps', [1, pytest.param(16, marks=pytest.mark.slow)])
def test_steps_may_be_any_number(time_steps):
    check(LIF, currents(time_steps, 33), backend='compiled')


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_read_and_written_as_it_is(dtype):
    x, grad = currents(4, 5, 33), currents(4, 5, 33, seed=1).to(dtype)
    found = []
    for backend in ('torch', 'compiled'):
        leaf = x.to(dtype).requires_grad_()
        spikes = MODELS.build(dict(LIF, backend=backend))(leaf)
        spikes.backward(grad)
        assert spikes.dtype == leaf.grad.dtype == dtype
        found.append((spikes, leaf.grad))
    (expected, expected_grad), (spikes, grad) = found
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(grad, expected_grad)


def test_one_kernel_computes_every_size(fresh):
    neuron = MODELS.build(dict(LIF, backend='compiled'))
    reference = MODELS.build(dict(LIF, backend='torch'))
    with torch.no_grad():
        for size in (2, 100, 4099):
            x = currents(4, size)
            assert torch.equal(neuron(x), reference(x))
    assert len(fresh._kernels) == 1


def test_spikes_keep_the_memory_format():
    x = channels_last(currents(4, 2, 8, 5, 5))
    spikes = MODELS.build(dict(LIF, backend='compiled'))(x)
    assert spikes.stride() == x.stride()


def test_nothing_is_computed_of_nothing():
    assert MODELS.build(dict(LIF, backend='compiled'))(torch.empty(4, 0, 3)).shape == (4, 0, 3)


def test_auto_compiles_once_a_process_has_inferred_enough(fresh, monkeypatch):
    monkeypatch.setitem(compiled.PAYS_FROM, 'cpu', (100, 250))
    dynamics = MODELS.build(LIF).dynamics
    big, small = torch.zeros(4, 25), torch.zeros(4, 5)
    chosen = [choose_backend('auto', dynamics, x)[0] is fresh for x in (big, small, big, big)]
    assert chosen == [False, False, False, True]
    assert choose_backend('auto', dynamics, small)[0] is not fresh
    # Training computes the same to the last bit before and after a restart
    assert choose_backend('auto', dynamics, big.requires_grad_())[0] is not fresh


def test_a_missing_compiler_is_one_warning(fresh, monkeypatch):
    def without_one(graph, **kwargs):
        def call(*args):
            raise torch._dynamo.exc.TorchDynamoException('no C++ compiler\nwas found')

        return call

    monkeypatch.setattr(torch, 'compile', without_one)
    neuron = MODELS.build(dict(LIF, backend='compiled'))
    x = currents(4, 3, 5).requires_grad_()
    with pytest.warns(UserWarning, match="backend='compiled' does without.*no C\\+\\+ compiler$"):
        spikes = neuron(x)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        spikes.sum().backward()
        assert torch.equal(neuron(x), spikes)
    assert torch.equal(spikes, MODELS.build(dict(LIF, backend='torch'))(x))


def test_what_takes_long_is_told_again_and_again(monkeypatch):
    told = []
    monkeypatch.setattr(compiled, 'print_log', lambda text, logger: told.append(text))
    before = threading.active_count()
    with compiled._telling('it compiles', told=False, every=0.01):
        while len(told) < 4:
            time.sleep(0.01)
    assert threading.active_count() == before
    assert told[0] == 'it compiles, the first kernel takes longest'
    assert all(text.startswith('it compiles: 0 s') for text in told[1:4])
    told.clear()
    with pytest.raises(KeyError), compiled._telling('it compiles', told=True, every=60):
        raise KeyError
    assert told == []
