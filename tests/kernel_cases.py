"""Neurons, currents and layouts on which a backend has to equal the reference."""

import itertools

import torch
from mmengine.registry import MODELS
from torch import nn

from mmqkformer.kernels import wide_type
from mmqkformer.neurons.fused import (
    fire_and_add,
    norm_and_fire,
    pool_and_fire,
    token_attention,
)

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SURROGATES = ('Sigmoid', 'ATan', 'Rectangular', 'Triangular')
# The order of the sums differs, and the exponential by a unit in the last place
TOLERANCE = {
    torch.float16: dict(rtol=1e-3, atol=1e-7),
    torch.bfloat16: dict(rtol=8e-3, atol=1e-7),
    torch.float32: dict(rtol=1e-6, atol=1e-6),
    torch.float64: dict(rtol=1e-12, atol=1e-12),
}
RESETS = (dict(v_reset=0.0), dict(v_reset=-0.3, v_threshold=1.2), dict(v_reset=None))
LEAKS = (
    dict(type='IFNeuron'),
    dict(type='LIFNeuron'),
    dict(type='LIFNeuron', tau=3.7),
    dict(type='LIFNeuron', tau=4 / 3, decay_input=False),
    dict(type='PLIFNeuron', init_tau=2.5),
)
INTEGERS = (
    dict(type='ILIFNeuron'),
    dict(type='ILIFNeuron', levels=3, normalize=True, decay=0.6),
    dict(type='ILIFNeuron', levels=8, half_up=True),
    dict(type='MultiSpikeNeuron', levels=4, gain=2.0),
)


def integrate_and_fire():
    """Every leak, reset, threshold and surrogate, with and without a gradient of the reset."""
    every = (LEAKS, RESETS, SURROGATES, [True, False], [True, False])
    for leak, reset, surrogate, strict, detach in itertools.product(*every):
        slope = dict(type=f'{surrogate}Surrogate', alpha=1.7)
        yield dict(leak, **reset, strict=strict, detach_reset=detach, surrogate=slope)


def currents(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(shape, generator=generator, dtype=torch.float64) + 1).to(dtype)


def run(cfg, x, grad_spikes, backend):
    """Spikes, and gradients of the currents and of the parameters."""
    neuron = MODELS.build(dict(cfg, backend=backend)).to(x.device)
    if x.dtype == torch.float64:
        neuron.double()
    leaf = x.detach().requires_grad_()
    spikes = neuron(leaf)
    grads = torch.autograd.grad(spikes, [leaf, *neuron.parameters()], grad_spikes)
    return spikes.detach(), *grads


def check(cfg, x, grad_spikes=None, backend='cpu'):
    """A backend against the reference, which runs on the CPU: there it divides, as the kernels do.

    On GPUs PyTorch divides by a number by multiplying with its reciprocal.
    """
    if grad_spikes is None:
        grad_spikes = currents(*x.shape, dtype=x.dtype, seed=1).to(x.device)
    spikes, *grads = (found.cpu() for found in run(cfg, x, grad_spikes, backend))
    expected, *expected_grads = run(cfg, x.cpu(), grad_spikes.cpu(), 'torch')
    assert spikes.dtype == x.dtype
    assert torch.equal(spikes, expected)
    assert len(grads) == len(expected_grads)
    # What two exponentials differ by is carried on by every step, and GPUs have a third one
    slack = max(1, x.size(0) / 4) * (8 if x.is_cuda else 1)
    tolerance = {name: slack * value for name, value in TOLERANCE[x.dtype].items()}
    torch.testing.assert_close(grads[0], expected_grads[0], **tolerance)
    if len(grads) == 2:
        # A sum of so many terms, in float32 unless all is in float64
        rtol = 1e-12 if x.dtype == torch.float64 else 1e-5
        scale = 1 + x.numel() ** 0.5
        torch.testing.assert_close(grads[1], expected_grads[1], rtol=rtol, atol=rtol * scale)
    return spikes


def channels_last(x):
    return x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, x.shape[:2])


LAYOUTS = {
    'odd': lambda device: currents(4, 3, 5, 7, 11).to(device),
    'one neuron': lambda device: currents(4, 1).to(device),
    'no inner axes': lambda device: currents(4).to(device),
    'channels last': lambda device: channels_last(currents(4, 2, 5, 3, 7).to(device)),
    'every other step': lambda device: currents(8, 3, 5).to(device)[::2],
    'copies of one step': lambda device: currents(3, 5).to(device).expand(4, 3, 5),
    'beginning unaligned': lambda device: currents(4 * 15 + 1).to(device)[1:].view(4, 15),
    'time inside': lambda device: currents(3, 4, 5).to(device).transpose(0, 1),
    'a slice of the channels': lambda device: currents(4, 2, 9, 3, 3).to(device)[:, :, 2:5],
    'an axis repeated': lambda device: currents(4, 3, 1, 5).to(device).expand(4, 3, 6, 5),
}


def trained_norm(channels):
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(1, 3, channels))
        norm.bias.copy_(torch.linspace(0.2, 1, channels))
        norm.running_mean.copy_(torch.linspace(-1, 2, channels))
        norm.running_var.copy_(torch.linspace(3, 9, channels))
    return norm


def norm_for(x):
    """In evaluation mode, of the type in which the kernels compute."""
    return trained_norm(x.size(2)).to(x.device, wide_type(x.dtype)).eval()


# On currents [T, B, 6, H, W]
FUSED = {
    'fire_and_add': lambda n, x: fire_and_add(n, x, x),
    'norm_and_fire': lambda n, x: norm_and_fire(norm_for(x), n, x),
    'token_attention': lambda n, x: token_attention(n, x, x, 2),
    'pool_and_fire': lambda n, x: pool_and_fire(nn.MaxPool2d(3, stride=2, padding=1), n, x),
}
