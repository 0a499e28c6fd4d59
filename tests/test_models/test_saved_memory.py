"""``memory=`` changes no bit of outputs, gradients and statistics, in every network of the zoo."""

import copy

import pytest
import torch
from mmengine.registry import MODELS
from networks import awaken
from processes import run_two_processes
from torch import nn
from zoo import distinct_architectures

from mmqkformer.analysis import saved_bytes
from mmqkformer.models.archs import expand_arch
from mmqkformer.models.shrink import shrink
from mmqkformer.neurons import SpikingNeuron

MEMORY = ('packed', 'recompute')
PRECISIONS = {
    'float32': (torch.float32, False),
    'float64': (torch.float64, False),
    'bfloat16': (torch.float32, True),
}
# Their joins refuse it
WITHOUT_DROP_PATH = ('and', 'iand')


def build(arch='hst-4-384', frozen_stages=-1, norm_eval=False, **kwargs):
    torch.manual_seed(0)
    stages = shrink(expand_arch(arch), 32)
    cfg = dict(type='SpikingBackbone', stages=stages, time_steps=1, **kwargs)
    model = MODELS.build(cfg)
    neurons = [m for m in model.modules() if isinstance(m, SpikingNeuron)]
    if all(neuron.time_axis for neuron in neurons):
        model.time_steps = 2
    awaken(model, images(model))
    if arch.endswith('-and'):  # spikes have to meet spikes
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.constant_(norm.bias, 2.0)
    model.set_frozen(frozen_stages, norm_eval)
    return model.train()


def images(model, dtype=torch.float32):
    side = max(32, model.strides[-1])
    return torch.randn(2, 3, side + 3, side, dtype=dtype)


def training_step(model, precision='float32', **kwargs):
    """Output, gradients and buffers of a step; the same random numbers in each."""
    dtype, half = PRECISIONS[precision]
    model.to(dtype)
    torch.manual_seed(1)
    x = images(model, dtype).to(**kwargs)
    with torch.autocast('cpu', torch.bfloat16, enabled=half):
        (out,) = model(x)
    out = out.to(dtype)
    (out * torch.randn_like(out)).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    # A silent network would pass
    assert all(values.abs().sum() > 0 for values in (out, gradients[0]))
    return [out.detach(), *gradients, *model.buffers()]


def assert_same(model, expected, *args, **kwargs):
    found = training_step(model, *args, **kwargs)
    assert len(found) == len(expected)
    for value, wanted in zip(found, expected):
        assert torch.equal(value, wanted)


@pytest.mark.parametrize(
    'precision',
    ['float32', *(pytest.param(name, marks=pytest.mark.slow) for name in ('bfloat16', 'float64'))],
)
@pytest.mark.parametrize('arch', distinct_architectures())
def test_a_training_step_is_the_same(arch, precision):
    drop_path_rate = 0.0 if arch.rpartition('-')[2] in WITHOUT_DROP_PATH else 0.3
    kwargs = dict(drop_path_rate=drop_path_rate)
    expected = training_step(build(arch, **kwargs), precision)
    for memory in MEMORY:
        assert_same(build(arch, memory=memory, **kwargs), expected, precision)


@pytest.mark.slow
@pytest.mark.parametrize('arch', distinct_architectures())
def test_less_is_kept(arch):
    kept = []
    for memory in (None, *MEMORY):
        model = build(arch, memory=memory)
        kept.append(saved_bytes(model, lambda model=model: model(images(model))).total)
    plain, packed, recompute = kept
    assert packed < 0.6 * plain
    assert recompute < 0.75 * packed


@pytest.mark.parametrize('memory', MEMORY)
@pytest.mark.parametrize(
    'kwargs',
    [
        dict(with_cp=True, drop_path_rate=0.3),
        dict(with_cp=[False, True, False], drop_path_rate=0.3),
        dict(residual='membrane', drop_path_rate=0.3),
        dict(residual='membrane', with_cp=True),
        dict(frozen_stages=2),
        dict(norm_eval=True),
        dict(out='spikes'),
        dict(out='stream', residual='membrane'),
        dict(norm_cfg=dict(type='GN', num_groups=4)),
        dict(norm_cfg=dict(type='BN', momentum=None)),
        dict(quant=dict(type='LSQ', bits=4)),
        dict(neuron=dict(type='PLIFNeuron')),
        dict(neuron=dict(type='IFNeuron', v_reset=None, detach_reset=False)),
        dict(neuron=dict(type='ILIFNeuron', levels=3)),
        dict(neuron=dict(type='ILIFNeuron', levels=3, normalize=True)),
        dict(neuron=dict(type='MultiSpikeNeuron', levels=6, gain=2)),
        dict(neuron=dict(type='LIFNeuron', backend='spikingjelly')),
    ],
    ids=str,
)
def test_other_parts_train_the_same(kwargs, memory):
    expected = training_step(build(**kwargs))
    assert_same(build(memory=memory, **kwargs), expected)


def with_dropout(memory=None):
    stages = shrink(expand_arch('hst-4-384'), 32)
    stages[-1]['block'] = dict(stages[-1]['block'])
    stages[-1]['block']['mlp'] = dict(stages[-1]['block']['mlp'], drop=0.4)
    torch.manual_seed(0)
    return MODELS.build(dict(type='SpikingBackbone', stages=stages, memory=memory)).train()


@pytest.mark.parametrize('memory', MEMORY)
def test_dropout_is_drawn_once(memory):
    assert_same(with_dropout(memory), training_step(with_dropout()))


@pytest.mark.parametrize('memory', MEMORY)
def test_mixed_precision(memory):
    assert_same(build(memory=memory), training_step(build(), 'bfloat16'), 'bfloat16')


@pytest.mark.parametrize('memory', MEMORY)
def test_channels_last(memory):
    layout = dict(memory_format=torch.channels_last)
    expected = training_step(build().to(**layout), **layout)
    assert_same(build(memory=memory).to(**layout), expected, **layout)


@pytest.mark.parametrize('memory', MEMORY)
def test_a_graph_that_is_kept_gives_the_same_gradients_again(memory):
    model = build(memory=memory)
    loss = model(images(model))[0].square().sum()
    parameters = list(model.parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    second = torch.autograd.grad(loss, parameters)
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    assert any(gradient.abs().sum() > 0 for gradient in first)


@pytest.mark.parametrize('memory', MEMORY)
def test_a_compiled_graph_decides_by_itself(memory):
    torch.compiler.reset()
    model = build(memory=memory)
    expected = training_step(copy.deepcopy(model))
    model.forward = torch.compile(model.forward, backend='eager', fullgraph=True)
    for value, wanted in zip(training_step(model), expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-5)


def in_a_process(rank, folder):
    """The gradients of DDP are the same with every ``memory``."""
    expected = None
    for memory in (None, *MEMORY):
        model = build(memory=memory, drop_path_rate=0.3)
        parallel = nn.parallel.DistributedDataParallel(model)
        torch.manual_seed(rank)
        parallel(images(model))[0].square().sum().backward()
        found = [*(p.grad for p in model.parameters()), *model.buffers()]
        expected = found if expected is None else expected
        assert all(torch.equal(value, wanted) for value, wanted in zip(found, expected))
    torch.save(expected, f'{folder}/{rank}.pth')


def test_two_processes_share_the_same_gradients(tmp_path):
    run_two_processes(in_a_process, tmp_path)
    one, other = (torch.load(tmp_path / f'{rank}.pth') for rank in range(2))
    gradients = len(list(build().parameters()))
    assert all(torch.equal(a, b) for a, b in zip(one[:gradients], other[:gradients]))
    # Each has images, and so statistics, of its own
    assert any(not torch.equal(a, b) for a, b in zip(one[gradients:], other[gradients:]))


def test_it_is_no_state():
    plain, packed = build(), build(memory='packed')
    assert plain.state_dict().keys() == packed.state_dict().keys()
    assert copy.deepcopy(packed).memory == 'packed'
    expected = training_step(packed)
    again = build(memory='packed')
    again.load_state_dict(build().state_dict())
    assert_same(copy.deepcopy(again), expected)


def test_most_of_the_published_model_is_one_number_a_neuron():
    """The norms' inputs, 4 bytes; the rest is bits."""
    torch.manual_seed(0)
    cfg = dict(type='QKFormer', arch='hst-4-384')
    kept = {}
    for memory in (None, *MEMORY):
        model = MODELS.build(dict(cfg, memory=memory)).train()
        x = torch.randn(2, 3, 32, 32)
        kept[memory] = saved_bytes(model, lambda model=model, x=x: model(x))
    assert kept[None].total > 12.5
    assert kept['packed'].total < 4.6
    assert kept['recompute'].total < 0.4
    assert kept['packed'].per_neuron['convolution inputs'] < 0.2
    assert kept['packed'].per_neuron['pool'] == 0
    assert kept['recompute'].per_neuron['norm input'] < 0.1
    assert len({one.neurons for one in kept.values()}) == 1
