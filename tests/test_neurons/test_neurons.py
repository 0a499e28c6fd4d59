"""Neurons: equal to SpikingJelly's in spikes and gradients, stateless, exact under autocast."""

import copy

import pytest
import torch
from mmengine.registry import MODELS
from spikingjelly.activation_based import neuron as sj
from spikingjelly.activation_based import surrogate as sj_surrogate

from mmqkformer.neurons import PLIFNeuron, register_backend
from mmqkformer.neurons.backends.registry import _BACKENDS
from mmqkformer.neurons.backends.torch import TorchBackend

NEURONS = {
    'IFNeuron': ({}, sj.IFNode, {}),
    'LIFNeuron': ({'tau': 2.0}, sj.LIFNode, {'tau': 2.0, 'decay_input': True}),
    'LIFNeuron-undecayed': (
        {'tau': 1.75, 'decay_input': False},
        sj.LIFNode,
        {'tau': 1.75, 'decay_input': False},
    ),
    'LIFNeuron-3.7': ({'tau': 3.7}, sj.LIFNode, {'tau': 3.7, 'decay_input': True}),
    'PLIFNeuron': ({'init_tau': 2.5}, sj.ParametricLIFNode, {'init_tau': 2.5, 'decay_input': True}),
}
# Gradients are sums of the same terms in another order.
TOLERANCE = {
    torch.float32: {'rtol': 1e-5, 'atol': 1e-6},
    torch.float64: {'rtol': 1e-11, 'atol': 1e-12},
}


def build(name, **kwargs):
    return MODELS.build(dict(type=name.split('-')[0], **NEURONS[name][0], **kwargs))


def run(neuron, x):
    """Spikes, gradient of the input and of the parameters."""
    x = x.clone().requires_grad_()
    spikes = neuron(x)
    weight = torch.linspace(-1, 1, spikes.numel(), dtype=x.dtype).reshape(spikes.shape)
    params = list(neuron.parameters())
    grads = torch.autograd.grad((spikes * weight).sum(), [x, *params])
    return spikes.detach(), grads


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('detach_reset', [True, False])
@pytest.mark.parametrize(
    ('v_threshold', 'v_reset'), [(1.0, 0.0), (0.5, 0.0), (1.2, -0.3), (1, None)]
)
@pytest.mark.parametrize('backend', ['torch', 'spikingjelly'])
@pytest.mark.parametrize('name', NEURONS)
def test_equals_spikingjelly(name, backend, v_threshold, v_reset, detach_reset, dtype):
    x = torch.randn(6, 3, 5, 7, generator=torch.Generator().manual_seed(0), dtype=dtype) * 3 + 1
    ours = build(
        name,
        v_threshold=v_threshold,
        v_reset=v_reset,
        detach_reset=detach_reset,
        backend=backend,
    ).to(dtype)
    _, node, args = NEURONS[name]
    theirs = node(
        v_threshold=float(v_threshold),
        v_reset=v_reset,
        detach_reset=detach_reset,
        surrogate_function=sj_surrogate.Sigmoid(alpha=4.0),
        step_mode='m',
        **args,
    ).to(dtype)
    spikes, grads = run(ours, x)
    expected_spikes, expected_grads = run(theirs, x)
    assert 0.05 < expected_spikes.mean() < 0.95
    assert torch.equal(spikes, expected_spikes)
    assert len(grads) == len(expected_grads) == (2 if name == 'PLIFNeuron' else 1)
    for grad, expected in zip(grads, expected_grads):
        torch.testing.assert_close(grad, expected, **TOLERANCE[dtype])


@pytest.mark.parametrize(
    ('surrogate', 'theirs'),
    [('SigmoidSurrogate', sj_surrogate.Sigmoid), ('ATanSurrogate', sj_surrogate.ATan)],
)
def test_surrogates_equal_spikingjelly(surrogate, theirs):
    ours = MODELS.build(dict(type=surrogate, alpha=2.5))
    u = torch.linspace(-3, 3, 101, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(theirs(alpha=2.5)(u).sum(), u)
    torch.testing.assert_close(ours.derivative(u.detach()), expected)


def test_first_step_fires_at_twice_the_threshold():
    lif = build('LIFNeuron')
    x = torch.tensor([[1.999, 2.0, 2.001]])
    assert lif(x).tolist() == [[0.0, 1.0, 1.0]]


@pytest.mark.parametrize('backend', ['torch', 'spikingjelly'])
@pytest.mark.parametrize('name', NEURONS)
def test_no_state_outlives_a_call(name, backend):
    neuron = build(name, backend=backend)
    keys = set(neuron.state_dict())
    x = torch.rand(4, 2, 8)
    first = neuron(x)
    assert torch.equal(neuron(x), first)
    assert torch.equal(copy.deepcopy(neuron)(x), first)
    assert set(neuron.state_dict()) == keys == ({'w'} if name == 'PLIFNeuron' else set())
    # A batch of another size, which a kept membrane would not fit
    assert neuron(torch.rand(4, 5, 8)).shape == (4, 5, 8)


@pytest.mark.parametrize('backend', ['torch', 'compiled', 'spikingjelly'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_membrane_is_float32_for_narrow_inputs(dtype, backend):
    x = (torch.rand(4, 64) * 3).to(dtype)
    neuron = build('LIFNeuron', backend=backend)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        spikes = neuron(x)
    assert spikes.dtype == dtype
    assert torch.equal(spikes.float(), neuron(x.float()))


def test_evaluation_equals_training():
    neuron, x = build('PLIFNeuron'), torch.randn(5, 3, 4)
    with torch.no_grad():
        spikes = neuron(x)
    assert torch.equal(spikes, neuron(x.requires_grad_()).detach())


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='LIFNeuron', tau=1.0), r'tau=1\.0: expected'),
        (dict(type='PLIFNeuron', init_tau=0.5), r'init_tau=0\.5: expected'),
        (dict(type='LIFNeuron', v_threshold=0.0), r'v_threshold=0\.0: expected'),
        (dict(type='LIFNeuron', backend='cuda'), r"backend='cuda' is unknown: expected"),
        (
            dict(type='LIFNeuron', surrogate=dict(type='SigmoidSurrogate', alpha=0)),
            r'surrogate\.alpha=0: expected',
        ),
    ],
)
def test_bad_arguments_are_named(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)


def test_a_backend_can_be_added_from_outside():
    @register_backend('eager')
    class AtOnce(TorchBackend):
        """Fires without a membrane, on doubles only."""

        def supports(self, dynamics, x=None):
            return x is None or x.dtype == torch.float64

        def forward(self, dynamics, x, rate, save):
            return (x >= dynamics.v_threshold).to(x), ()

    x = torch.tensor([[0.5, 1.5]])
    try:
        named = MODELS.build(dict(type='LIFNeuron', backend='eager'))
        auto = MODELS.build(dict(type='LIFNeuron'))
        assert named(x.double()).tolist() == auto(x.double()).tolist() == [[0.0, 1.0]]
        # Chosen for each call: this one is left to the reference
        assert auto(x).tolist() == [[0.0, 0.0]]
        with pytest.raises(
            ValueError, match=r"backend='eager': expected 'auto'.* in torch.float32"
        ):
            named(x)
    finally:
        del _BACKENDS['eager']


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='LIFNeuron', strict=True),
        dict(type='LIFNeuron', surrogate=dict(type='TriangularSurrogate')),
        dict(type='ILIFNeuron'),
    ],
)
def test_a_backend_that_knows_no_such_dynamics_is_refused(cfg):
    with pytest.raises(ValueError, match="backend='spikingjelly': expected 'auto'"):
        MODELS.build(dict(cfg, backend='spikingjelly'))


def test_plif_starts_at_its_time_constant():
    assert PLIFNeuron(init_tau=4.0).w.sigmoid().item() == pytest.approx(0.25)
