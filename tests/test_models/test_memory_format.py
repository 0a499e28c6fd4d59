"""A network in channels-last memory keeps it from the first convolution to the last."""

import pytest
import torch
from mmengine.registry import MODELS
from networks import awaken
from torch import nn

from mmqkformer.layers import SpikingMLP
from mmqkformer.neurons import LIFNeuron


def network(residual, neuron='LIFNeuron', embed='PEDS', events=False, **kwargs):
    torch.manual_seed(0)
    block = dict(
        attention=dict(type='QKTokenAttention', num_heads=2), mlp=dict(type='SpikingMLP', ratio=2)
    )
    stem = dict(type='SPS') if embed == 'SPS' else dict(type='PEDSStem', shortcut_from=1)
    stages = [
        dict(
            embed=dict(stem, channels=[4, 8], pools=[False, True]),
            block=block,
            channels=8,
            depth=1,
        ),
        dict(
            embed=dict(type='PEDS'),
            block=dict(block, attention=dict(type='QKChannelAttention')),
            channels=16,
            depth=1,
        ),
        dict(
            embed=dict(type='PEDS', pool='last'),
            block=dict(block, attention=dict(type='SpikingSelfAttention', num_heads=2)),
            channels=32,
            depth=1,
        ),
    ]
    model = MODELS.build(
        dict(
            type='QKFormer',
            stages=stages,
            residual=residual,
            neuron=dict(type=neuron),
            time_steps=3,
            in_channels=2 if events else 3,
            **kwargs,
        )
    ).double()
    return awaken(model, images(events))


def images(events=False):
    shape = (2, 3, 2, 17, 22) if events else (2, 3, 17, 22)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def watch(model):
    """Names of convolutions with whether all that they take and give is in channels-last memory.

    Of each its input, its output and the gradient of its output.
    """
    seen = {}

    def note(name, *tensors):
        kept = all(x.is_contiguous(memory_format=torch.channels_last) for x in tensors)
        seen[name] = seen.get(name, True) and kept

    def hook(name):
        def watched(module, args, out):
            note(name, args[0], out)
            if out.requires_grad:
                out.register_hook(lambda grad: note(name, grad))

        return watched

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(hook(name))
    return seen


def outputs_and_gradients(model, x, with_grad):
    model.zero_grad()
    with torch.set_grad_enabled(with_grad):
        (out,) = model(x)
    if with_grad:
        out.square().sum().backward()
    return [out.detach(), *(p.grad.clone() for p in model.parameters() if with_grad)]


@pytest.mark.parametrize('with_grad', [False, True])
@pytest.mark.parametrize(
    ('residual', 'kwargs'),
    [
        ('add', dict()),
        ('add', dict(out='spikes', embed='SPS')),
        ('add', dict(with_cp=True)),
        ('membrane', dict()),
        ('membrane', dict(neuron='PLIFNeuron', out='spikes')),
    ],
)
def test_every_convolution_stays_in_channels_last(residual, kwargs, with_grad):
    model = network(residual, **kwargs)
    expected = outputs_and_gradients(model, images(), with_grad)
    model.to(memory_format=torch.channels_last)
    seen = watch(model)
    x = images().to(memory_format=torch.channels_last)
    values = outputs_and_gradients(model, x, with_grad)
    assert len(seen) == sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 25
    assert [name for name, kept in seen.items() if not kept] == []
    assert expected[0].std() > 1e-3
    for value, wanted in zip(values, expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)


def test_the_weights_format_is_enough():
    """With ``channels_last=True`` images and checkpoints are as they were."""
    plain = network('add')
    model = network('add', channels_last=True)
    model.load_state_dict(plain.state_dict())
    seen = watch(model)
    values = outputs_and_gradients(model, images(), True)
    # The images themselves are what the first one is given
    assert [name for name, kept in seen.items() if not kept] == ['stages.0.embed.convs.0.conv']
    expected = outputs_and_gradients(plain, images(), True)
    for value, wanted in zip(values, expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)


def test_frames_of_events_are_in_channels_last_behind_the_first_convolution():
    """Frames [B, T, C, H, W] themselves have no such format."""
    model = network('add', events=True)
    expected = outputs_and_gradients(model, images(events=True), True)
    model.to(memory_format=torch.channels_last)
    seen = watch(model)
    values = outputs_and_gradients(model, images(events=True), True)
    assert [name for name, kept in seen.items() if not kept] == ['stages.0.embed.convs.0.conv']
    for value, wanted in zip(values, expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)


def layouts():
    """The same currents [T, B, C, H, W] in other memory, some of it shared or with gaps."""
    x = torch.randn(3, 2, 4, 5, 6, dtype=torch.float64)
    step = x[:1].expand(3, -1, -1, -1, -1)
    yield x, x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (3, 2))
    yield x, x.transpose(0, 1).contiguous().transpose(0, 1)
    yield x, torch.stack([x, x], -1)[..., 0]
    yield step.contiguous(), step
    yield x[:, :, :1].repeat(1, 1, 4, 1, 1), x[:, :, :1].expand(-1, -1, 4, -1, -1)


@pytest.mark.parametrize('with_grad', [False, True])
def test_a_neuron_takes_any_strides(with_grad):
    neuron = LIFNeuron()
    for plain, strided in layouts():
        results = []
        for x in (plain, strided):
            leaf = x.detach().requires_grad_(with_grad)
            spikes = neuron(leaf)
            if with_grad:
                spikes.square().sum().backward()
            results.append((spikes, leaf.grad if with_grad else spikes))
        for value, wanted in zip(*results[::-1]):
            assert torch.equal(value, wanted)


def test_gradients_of_the_stream_are_in_channels_last_from_the_end_on():
    """A mean over tokens gives its gradient channels first, which sums of gradients would keep."""
    model = network('add').to(memory_format=torch.channels_last)
    kept = []

    def look(module, args):
        args[0].register_hook(
            lambda grad: kept.append(
                grad.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
            )
        )

    for branch in model.modules():
        if isinstance(branch, SpikingMLP):
            branch.register_forward_pre_hook(look)
    (rates,) = model(images().to(memory_format=torch.channels_last))
    rates.mean((2, 3)).square().sum().backward()
    assert kept == [True] * 3


@pytest.mark.parametrize('time_steps', [1, 3])
def test_one_image_is_pooled_in_channels_last(time_steps):
    """Where a view has made strides that do not tell it, PyTorch pools channels first."""
    model = network('add').to(memory_format=torch.channels_last).eval()
    model.time_steps = time_steps
    strides = []
    for module in model.modules():
        if isinstance(module, nn.MaxPool2d):
            module.register_forward_hook(lambda m, args, out: strides.append(out.stride(1)))
    with torch.no_grad():
        model(images()[:1].to(memory_format=torch.channels_last))
    assert strides == [1] * 3
