"""Dynamics that SpikingJelly has not: against recurrences that autograd differentiates."""

import pytest
import torch
from mmengine.registry import MODELS

from mmqkformer.neurons import SigmoidSurrogate, TriangularSurrogate

SURROGATES = {
    'SigmoidSurrogate': lambda u: 4 * torch.sigmoid(4 * u) * (1 - torch.sigmoid(4 * u)),
    'RectangularSurrogate': lambda u: (u.abs() < 0.5).to(u),
    'TriangularSurrogate': lambda u: (1 - u.abs()).clamp(min=0),
}


class Step(torch.autograd.Function):
    """A strict Heaviside step with a slope for its derivative."""

    @staticmethod
    def forward(ctx, u, slope):
        ctx.save_for_backward(slope(u))
        return (u > 0).to(u)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None


def by_hand(x, decay, threshold, slope, detach_reset):
    """``u = decay u (1 - s) + x``, the recurrence of MS-ResNet and STSA."""
    u, spikes = torch.zeros_like(x[0]), []
    for current in x:
        u = decay * u + current
        spike = Step.apply(u - threshold, slope)
        spikes.append(spike)
        u = u * (1 - (spike.detach() if detach_reset else spike))
    return torch.stack(spikes)


@pytest.mark.parametrize('detach_reset', [True, False])
@pytest.mark.parametrize('surrogate', SURROGATES)
@pytest.mark.parametrize(('tau', 'decay', 'threshold'), [(4 / 3, 0.25, 0.5), (2.0, 0.5, 1.0)])
def test_undecayed_strict_neurons_follow_their_recurrence(
    tau, decay, threshold, surrogate, detach_reset
):
    neuron = MODELS.build(
        dict(
            type='LIFNeuron',
            tau=tau,
            decay_input=False,
            strict=True,
            v_threshold=threshold,
            detach_reset=detach_reset,
            surrogate=dict(type=surrogate),
        )
    )
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 5, generator=generator, dtype=torch.float64)
    x[0, 0, 0] = threshold  # at the threshold: no spike
    results = []
    for run in (
        neuron,
        lambda x: by_hand(x, decay, threshold, SURROGATES[surrogate], detach_reset),
    ):
        leaf = x.clone().requires_grad_()
        spikes = run(leaf)
        weight = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).reshape(x.shape)
        results.append((spikes.detach(), torch.autograd.grad((spikes * weight).sum(), leaf)[0]))
    (spikes, grad), (expected_spikes, expected_grad) = results
    assert torch.equal(spikes, expected_spikes)
    assert 0.1 < spikes.mean() < 0.9
    assert spikes[0, 0, 0] == 0
    torch.testing.assert_close(grad, expected_grad, rtol=1e-12, atol=1e-12)


def test_surrogates_are_windows_of_their_area():
    u = torch.linspace(-4, 4, 800_001, dtype=torch.float64)
    for name in ('RectangularSurrogate', 'TriangularSurrogate', 'SigmoidSurrogate'):
        slope = MODELS.build(dict(type=name, alpha=2.5)).derivative(u)
        assert torch.trapezoid(slope, u).item() == pytest.approx(1.0, abs=1e-4)
        if name != 'SigmoidSurrogate':
            assert slope.max().item() == pytest.approx(2.5)


def test_surrogates_of_the_same_values_are_equal():
    assert SigmoidSurrogate(2) == SigmoidSurrogate(2.0)
    assert hash(SigmoidSurrogate(2)) == hash(SigmoidSurrogate(2.0))
    assert SigmoidSurrogate(2) != SigmoidSurrogate(3)
    assert SigmoidSurrogate(1) != TriangularSurrogate(1)


def test_the_leak_runs_over_the_flattened_batch():
    neuron = MODELS.build(dict(type='BatchLeakingNeuron', neuron=dict(type='PLIFNeuron')))
    x = 2 * torch.rand(3, 4, 5)
    flat = MODELS.build(dict(type='PLIFNeuron'))(x.flatten(0, 1))
    assert torch.equal(neuron(x), flat.unflatten(0, (3, 4)))
    assert list(neuron.state_dict()) == ['neuron.w']
    # As it was saved before the leak became a neuron
    neuron.load_state_dict({'w': torch.tensor(0.75)})
    assert neuron.neuron.w == 0.75
