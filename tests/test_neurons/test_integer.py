"""Neurons of several levels: equal to SpikingJelly's I-LIF and to the equations by hand."""

import pytest
import torch
from mmengine.registry import MODELS
from spikingjelly.activation_based import neuron as sj
from spikingjelly.activation_based import surrogate as sj_surrogate


def currents(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(shape, generator=generator, dtype=dtype) + 1


def run(neuron, x):
    x = x.clone().requires_grad_()
    spikes = neuron(x)
    weight = torch.linspace(-1, 1, spikes.numel(), dtype=x.dtype).reshape(spikes.shape)
    (grad,) = torch.autograd.grad((spikes * weight).sum(), x)
    return spikes.detach(), grad


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('levels', [1, 4, 7])
def test_ilif_equals_spikingjelly(levels, dtype):
    ours = MODELS.build(dict(type='ILIFNeuron', levels=levels))
    count = sj_surrogate.MultiLevelSpikeCount(levels)
    theirs = sj.ILIFNode(surrogate_function=count, detach_reset=True, step_mode='m')
    x = currents(6, 3, 5, 7, dtype=dtype)
    spikes, grad = run(ours, x)
    expected_spikes, expected_grad = run(theirs, x)
    assert set(expected_spikes.unique().tolist()) == set(range(levels + 1))
    assert torch.equal(spikes, expected_spikes)
    torch.testing.assert_close(grad, expected_grad)


def test_ilif_rounds_halves_to_even_and_keeps_the_rest():
    x = torch.tensor([0.5, 1.5, 2.5, 4.6, -1.0])
    neuron = MODELS.build(dict(type='ILIFNeuron', decay=0.5))
    first, second = neuron(torch.stack([x, torch.full_like(x, 1.0)]))
    assert first.tolist() == [0, 2, 2, 4, 0]
    # H = x + (what was left) / 2: 1.25, 0.75, 1.25, 1.3, 0.5
    assert second.tolist() == [1, 1, 1, 1, 0]


def test_normalised_ilif_divides_spikes_and_gradient():
    x = currents(4, 3, 5)
    spikes, grad = run(MODELS.build(dict(type='ILIFNeuron')), x)
    ours = MODELS.build(dict(type='ILIFNeuron', normalize=True))
    normalised, normalised_grad = run(ours, x)
    assert torch.equal(normalised, spikes / 4)
    assert torch.equal(normalised_grad, grad / 4)
    assert (ours.levels, ours.unit) == (4, 0.25)


def test_half_up_rounds_like_the_multi_spike_neuron_on_the_scale_of_spikes():
    x = torch.tensor([[0.0, 0.5, 1.5, 2.5, 3.9, 4.0, 5.0, -1.0]], dtype=torch.float64)
    up = dict(type='ILIFNeuron', half_up=True, normalize=True)
    spikes, grad = run(MODELS.build(up), x)
    assert (4 * spikes).tolist() == [[0, 1, 2, 3, 4, 4, 4, 0]]
    # The ends of the window are outside, unlike those of rounding to even
    assert (grad != 0).tolist() == [[False, True, True, True, True, False, False, False]]
    _, even = run(MODELS.build(dict(up, half_up=False)), x)
    assert (even != 0).tolist() == [[True, True, True, True, True, True, False, False]]
    multi, multi_grad = run(MODELS.build(dict(type='MultiSpikeNeuron')), x / 4)
    assert torch.equal(spikes, multi)
    assert torch.equal(4 * grad, multi_grad)


def test_without_a_time_axis_there_is_one_step():
    x = currents(3, 4)
    alone = MODELS.build(dict(type='ILIFNeuron', decay=None))
    assert torch.equal(alone(x[None]), MODELS.build(dict(type='ILIFNeuron'))(x[None]))
    with pytest.raises(ValueError, match='decay=None: expected one time step, got 3'):
        alone(x)


@pytest.mark.parametrize('gain', [1.0, 2.0])
def test_multi_spike_rounds_halves_up_without_memory(gain):
    x = torch.tensor([-0.1, 0.0, 0.124, 0.125, 0.374, 0.375, 0.9, 1.0, 7.0], dtype=torch.float64)
    neuron = MODELS.build(dict(type='MultiSpikeNeuron', gain=gain))
    spikes, grad = run(neuron, torch.stack([x, x]))
    expected = gain * torch.tensor([0, 0, 0, 1, 1, 2, 4, 4, 4], dtype=torch.float64) / 4
    assert torch.equal(spikes, torch.stack([expected, expected]))
    weight = torch.linspace(-1, 1, spikes.numel(), dtype=x.dtype).reshape(spikes.shape)
    inside = (x > 0) & (x < 1)
    assert torch.equal(grad, gain * weight * inside)
    assert (neuron.levels, neuron.unit) == (4, gain / 4)


def test_only_the_window_is_kept_for_backward():
    saved = []
    x = currents(4, 3, 5).requires_grad_()
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t)
    with hooks:
        MODELS.build(dict(type='ILIFNeuron'))(x)
    assert [t.dtype for t in saved] == [torch.bool]


@pytest.mark.parametrize('name', ['ILIFNeuron', 'MultiSpikeNeuron'])
def test_no_state_outlives_a_call(name):
    neuron, x = MODELS.build(dict(type=name)), currents(4, 3, 5)
    first = neuron(x)
    assert torch.equal(neuron(x), first)
    assert not neuron.state_dict()
    with torch.no_grad():
        assert torch.equal(neuron(x), first)
    assert neuron(x.half()).dtype == torch.float16


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='ILIFNeuron', levels=0), r'levels=0: expected an integer from 1 to 255'),
        (dict(type='ILIFNeuron', levels=2.0), r'levels=2\.0: expected an integer'),
        (dict(type='ILIFNeuron', decay=1.0), r'decay=1\.0: expected'),
        (dict(type='ILIFNeuron', normalize='False'), r"normalize='False': expected True or False"),
        (dict(type='ILIFNeuron', half_up=1), r'half_up=1: expected True or False'),
        (dict(type='MultiSpikeNeuron', gain=0), r'gain=0: expected'),
        (dict(type='MultiSpikeNeuron', levels=300), r'levels=300: expected'),
    ],
)
def test_bad_arguments_are_named(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)
