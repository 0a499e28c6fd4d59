"""Layers behind neurons in int8: sums are exact, and spikes flip only where rounding decides."""

import copy
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from networks import awaken
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mmqkformer.deploy import Int8Layer, int8, spike_flips, to_int8
from mmqkformer.layers import LSQ
from mmqkformer.layers.quant import dequantise, quantised_layers
from mmqkformer.layers.rep_conv import BorderNorm
from mmqkformer.models.shrink import shrink_classifier
from mmqkformer.neurons import IFNeuron, MultiSpikeNeuron, SpikingNeuron
from mmqkformer.saved import added

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / 'configs' / 'qsd' / 'qsd-s_8xb196_in1k.py'


class Merged(nn.Module):
    """A layer and what stands behind it, on the steps of ``[T, B, ...]``."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def quantised(*modules, bits=4):
    """A chain of modules, its norms with statistics that are not those they start from."""
    model = nn.Sequential(*modules)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            for tensor in (module.weight, module.bias, module.running_mean):
                if tensor is not None:
                    nn.init.normal_(tensor)
            if module.running_var is not None:
                nn.init.uniform_(module.running_var, 0.5, 2)
    LSQ(bits)(model, 'model')
    for layer in quantised_layers(model).values():
        nn.init.uniform_(layer.alpha, 0.01, 0.03)
    return model.eval()


def int8_layers(model):
    return {name: m for name, m in model.named_modules() if isinstance(m, Int8Layer)}


def exact_sums(layer, spikes):
    """The sums of an Int8Layer, by float64 from spikes in float64."""
    n = (spikes / layer.unit).round()
    if layer.is_linear:
        return F.linear(n, layer.codes[:, :, 0, 0].double())
    return F.conv2d(n, layer.codes.double(), None, *layer.place)


CONVS = {
    '3x3': dict(kernel_size=3, padding=1),
    '7x7 of stride 2': dict(kernel_size=7, stride=2, padding=3, bias=False),
    '1x3': dict(kernel_size=(1, 3), padding=(0, 1), stride=(2, 1)),
    '1x1': dict(kernel_size=1),
    'depthwise': dict(kernel_size=3, groups=6),
    'dilated': dict(kernel_size=3, dilation=2, padding=2, groups=2),
}
NEURONS = {
    'binary': lambda: IFNeuron(),
    'three levels': lambda: MultiSpikeNeuron(levels=3),
    'with a gain': lambda: MultiSpikeNeuron(levels=4, gain=0.7),
    'a byte': lambda: MultiSpikeNeuron(levels=255),
}


@pytest.mark.parametrize('bits', [4, 8])
@pytest.mark.parametrize('neuron', NEURONS)
@pytest.mark.parametrize('place', CONVS)
def test_a_convolution_with_its_norm(place, neuron, bits):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 12, **CONVS[place])
    model = quantised(NEURONS[neuron](), Merged(conv, nn.BatchNorm2d(12)), bits=bits)
    currents = torch.randn(2, 3, 6, 9, 11)
    net, left = to_int8(model, lambda model: model(currents))
    assert not left
    layer, norm = net[1].layers
    assert isinstance(norm, nn.Identity)
    model.double()
    with torch.no_grad():
        spikes = model[0](currents.double())
        assert spikes.unique().numel() > 1
        exact = exact_sums(layer, spikes.flatten(0, 1))
        # uint8 * int8 in integers; float32 holds them to 2^24, which none of them reaches
        assert torch.equal(layer.sums(net[0](currents).flatten(0, 1)).double(), exact)
        assert exact.abs().max() > 10
        found, expected = net(currents), model(currents.double())
    assert found.dtype == torch.float32
    scale = expected.abs().max().item()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6 * scale)


def test_a_linear_layer():
    torch.manual_seed(0)
    model = quantised(MultiSpikeNeuron(), nn.Linear(7, 5))
    currents = torch.randn(4, 3, 7)
    net, left = to_int8(model, lambda model: model(currents))
    assert not left
    spikes = net[0](currents)
    assert torch.equal(net[1].sums(spikes).double(), exact_sums(net[1], spikes.double()))
    with torch.no_grad():
        expected = model.double()(currents.double())
    torch.testing.assert_close(net(currents).double(), expected, rtol=0, atol=1e-6)


@pytest.fixture(scope='module')
def small():
    """A small QSD-Transformer, and two images."""
    torch.manual_seed(0)
    cfg = shrink_classifier(Config.fromfile(CONFIG).model.to_dict(), 64)
    cfg['head'].update(num_classes=10)
    model = MODELS.build(cfg)
    images = torch.randn(2, 3, 64, 48)
    return awaken(model, images), images


@pytest.fixture(scope='module')
def converted(small):
    model, images = small
    return to_int8(model, lambda model: model(images))


def fed(model, images, outputs=None):
    """What goes in and out of each neuron, and logits; with the given outputs in their place."""
    passed = {}

    def record(name):
        def hook(neuron, args, output):
            passed[name] = args[0], output
            return None if outputs is None else outputs[name].to(output.dtype)

        return hook

    handles = [
        module.register_forward_hook(record(name))
        for name, module in model.named_modules()
        if isinstance(module, SpikingNeuron)
    ]
    with torch.no_grad():
        logits = model(images)
    for handle in handles:
        handle.remove()
    return passed, logits


def test_a_network_computes_the_same_between_its_neurons(small, converted):
    """Each part of it from the spikes of the float64 network, so that no flip makes others."""
    model, images = small
    exact = copy.deepcopy(model).double()
    dequantise(exact)
    expected, logits = fed(exact, images.double())
    found, same = fed(converted[0], images, {name: out for name, (_, out) in expected.items()})
    assert found.keys() == expected.keys()
    for name, (currents, spikes) in expected.items():
        ours, fired = found[name]
        size = currents.abs().max().item()
        torch.testing.assert_close(ours.double(), currents, rtol=0, atol=1e-5 * size)
        # A neuron fires otherwise only where its current lies next to a threshold
        levels = model.get_submodule(name).levels
        to_threshold = (levels * currents - (levels * currents).floor() - 0.5).abs()
        flips = fired.double() != spikes
        assert (to_threshold[flips] < levels * 1e-5 * size).all(), name
        assert spikes.any(), name
    torch.testing.assert_close(same.double(), logits, rtol=0, atol=1e-5)
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_sums_of_a_network_are_exact(small, converted):
    net, given = converted[0], {}
    handles = [
        layer.register_forward_pre_hook(lambda layer, args: given.update({layer: args[0]}))
        for layer in int8_layers(net).values()
    ]
    net(small[1])
    for handle in handles:
        handle.remove()
    assert set(given) == set(int8_layers(net).values())
    for layer, spikes in given.items():
        assert torch.equal(layer.sums(spikes).double(), exact_sums(layer, spikes.double()))


def test_flips_are_counted_as_of_other_forms(small, converted):
    model, images = small
    flips = spike_flips(model, converted[0], lambda model: model(images))
    assert flips.flips < 0.01 * flips.outputs


def test_what_takes_no_spikes_stays_float32(small, converted):
    net, left = converted
    # The image, what depthwise convolutions and borders give out, and a mean over time
    reals = ('embed.convs.0.conv', 'reduce.conv', 'depthwise', 'pointwise', 'head.fc')
    assert all(name.endswith(reals) for name in left)
    assert {'backbone.stages.0.embed.convs.0.conv', 'head.fc'} <= set(left)
    assert 'backbone.stages.1.embed.convs.0.conv' in int8_layers(net)
    assert set(left.values()) == {'takes what is not known to be whole numbers of spikes'}
    names = set(quantised_layers(small[0]))
    assert names == set(left) | set(int8_layers(net))
    assert not quantised_layers(net)
    # The border reads its norm; all others are folded
    norms = {m for m in net.modules() if isinstance(m, _BatchNorm)}
    assert norms == {m.norm for m in net.modules() if isinstance(m, BorderNorm)} != set()


def test_the_model_itself_is_left_alone(small):
    model, images = small
    state = {key: value.clone() for key, value in model.state_dict().items()}
    to_int8(model, lambda model: model(images))
    assert not any(m._forward_hooks for m in model.modules())
    assert model.state_dict().keys() == state.keys()
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_it_is_copied_and_its_state_loaded(small, converted):
    model, images = small
    net = converted[0]
    with torch.no_grad():
        expected = net(images)
        assert torch.equal(copy.deepcopy(net)(images), expected)
        other = copy.deepcopy(model)
        for layer in quantised_layers(other).values():
            nn.init.normal_(layer.weight)
        other, _ = to_int8(other, lambda model: model(images))
        assert not torch.equal(other(images), expected)
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(images), expected)


def test_a_sample_does_not_depend_on_its_batch_or_layout():
    torch.manual_seed(0)
    model = quantised(MultiSpikeNeuron(), Merged(nn.Conv2d(5, 4, 3)))
    currents = torch.randn(1, 3, 5, 6, 7)
    net, _ = to_int8(model, lambda model: model(currents))
    expected = net(currents)
    assert torch.equal(net(currents[:, :1]), expected[:, :1])
    last = currents.movedim(2, -1).contiguous().movedim(-1, 2)
    assert torch.equal(net(last[:, 2:]), expected[:, 2:])


def test_it_is_made_and_run_in_inference_mode():
    model = quantised(MultiSpikeNeuron(), Merged(nn.Conv2d(5, 4, 3), nn.BatchNorm2d(4)))
    with torch.inference_mode():
        currents = torch.randn(1, 3, 5, 6, 7)
        net, left = to_int8(model, lambda model: model(currents))
        torch.testing.assert_close(net(currents), model(currents), rtol=0, atol=1e-5)
    assert not left
    assert isinstance(net[1].layers[1], nn.Identity)


@pytest.mark.parametrize(
    ('layer', 'shape', 'expected'),
    [
        (nn.Conv2d(5, 4, 3, stride=2), (0, 5, 7, 9), (0, 4, 3, 4)),
        (nn.Linear(5, 4), (2, 0, 5), (2, 0, 4)),
    ],
)
def test_of_nothing_there_is_nothing(layer, shape, expected):
    """As of a detector that proposes no box."""
    model = quantised(MultiSpikeNeuron(), layer)
    some = torch.randn([size or 1 for size in shape])
    net, _ = to_int8(model, lambda model: model(some))
    assert net[1](torch.zeros(shape)).shape == expected


class Shortcut(nn.Module):
    """Two norms: one of its own, of what it is given, and one behind its convolution."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return x + self.norm(x)


class Rectified(nn.Module):
    """In place, between a convolution and a norm."""

    def forward(self, x):
        return x.relu_()


@pytest.mark.parametrize(
    'behind',
    [
        lambda: [Shortcut(4)],
        lambda: [Rectified(), nn.BatchNorm2d(4)],
        lambda: [nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4)],
        lambda: [nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)],
        lambda: [norm := nn.BatchNorm2d(4), Rectified(), norm],
        lambda: [nn.BatchNorm2d(4, track_running_stats=False)],
    ],
    ids=['of a shortcut', 'behind a ReLU', 'two', 'of another layer', 'shared', 'of the batch'],
)
def test_norms_are_folded_only_where_that_is_the_same(behind):
    torch.manual_seed(0)
    model = quantised(MultiSpikeNeuron(), Merged(nn.Conv2d(5, 4, 3), *behind()))
    currents = torch.randn(1, 3, 5, 6, 7)
    net, _ = to_int8(model, lambda model: model(currents))
    with torch.no_grad():
        expected = model.double()(currents.double())
        torch.testing.assert_close(net(currents).double(), expected, rtol=0, atol=1e-5)


def layer_between(conv, *neurons):
    """A model in which one layer takes the spikes of several neurons, one after another."""

    class Calls(nn.Module):
        def __init__(self):
            super().__init__()
            self.neurons, self.conv, self.other = nn.ModuleList(neurons), conv, nn.Linear(3, 3)
            self.first = MultiSpikeNeuron()

        def forward(self, x):
            self.other(self.first(x.flatten(2).mT[..., :3]))
            return sum(self.conv(neuron(x).flatten(0, 1)) for neuron in self.neurons)

    model = Calls()
    LSQ(8)(model, 'model')
    return model.eval()


@pytest.mark.parametrize(
    ('make', 'why'),
    [
        (lambda: (nn.Conv2d(3, 2, 1), MultiSpikeNeuron(), MultiSpikeNeuron(8)), 'several values'),
        (lambda: (nn.Conv2d(3, 2, 3, padding='same'), MultiSpikeNeuron()), "padding='same'"),
        (
            lambda: (nn.Conv2d(3, 2, 3, padding=1, padding_mode='reflect'), MultiSpikeNeuron()),
            r'padding=\(1, 1\) of reflect',
        ),
        (lambda: (nn.Conv2d(3, 2, 1),), 'was not called'),
        (lambda: (nn.Conv1d(3, 2, 1), MultiSpikeNeuron()), 'is a QuantisedConv1d'),
    ],
    ids=['units', 'padding', 'mode', 'unused', 'class'],
)
def test_what_cannot_be_computed_is_named(make, why):
    model = layer_between(*make())
    x = torch.randn(2, 3, 3, 5) if isinstance(model.conv, nn.Conv1d) else torch.randn(2, 3, 3, 5, 5)
    net, left = to_int8(model, lambda model: model(x))
    assert list(left) == ['conv']
    assert re.search(why, left['conv'])
    torch.testing.assert_close(net(x), model(x))


class Twice(nn.Module):
    """A layer that is called with and without the norm."""

    def __init__(self):
        super().__init__()
        self.neuron, self.conv, self.norm = MultiSpikeNeuron(), nn.Conv2d(5, 4, 3), Shortcut(4).norm

    def forward(self, x):
        spikes = self.neuron(x).flatten(0, 1)
        return self.norm(self.conv(spikes)) - self.conv(spikes)


def test_a_layer_that_is_called_twice_keeps_its_norm():
    torch.manual_seed(0)
    model = quantised(Twice())
    currents = torch.randn(2, 3, 5, 6, 7)
    net, left = to_int8(model, lambda model: model(currents))
    assert not left
    torch.testing.assert_close(net(currents), model(currents), rtol=0, atol=1e-5)


class SumOfSpikes(nn.Module):
    """Numbers of spikes of two neurons of ``levels`` spikes, as an ``add`` residual sums them."""

    def __init__(self, levels):
        super().__init__()
        self.neurons = nn.ModuleList(MultiSpikeNeuron(levels, gain=levels) for _ in range(2))

    def forward(self, x):
        return added(self.neurons[0](x), self.neurons[1](-x))


@pytest.mark.parametrize('levels', [127, 128])
def test_sums_of_spikes_are_taken_as_long_as_they_are_bytes(levels):
    torch.manual_seed(0)
    model = nn.ModuleList(quantised(SumOfSpikes(n), nn.Linear(7, 5)) for n in (4, levels))
    currents = torch.randn(2, 3, 7)

    def forward(model):
        return torch.stack([part(currents) for part in model])

    net, left = to_int8(model, forward)
    assert left == (
        {'1.1': 'takes up to 256 spikes, more than a byte holds'} if levels > 127 else {}
    )
    torch.testing.assert_close(forward(net), forward(model), rtol=1e-6, atol=1e-5)


def test_norms_behind_float_layers_are_folded_too():
    torch.manual_seed(0)
    model = quantised(MultiSpikeNeuron(), Merged(nn.Conv2d(5, 4, 3), nn.Conv2d(4, 6, 1)))
    model.append(Merged(nn.Conv2d(6, 3, 1, bias=False), nn.BatchNorm2d(3))).eval()
    nn.init.constant_(model[2].layers[1].running_mean, 0.3)
    nn.init.constant_(model[2].layers[1].running_var, 3.0)
    currents = torch.randn(1, 3, 5, 6, 7)
    net, left = to_int8(model, lambda model: model(currents))
    assert list(left) == ['1.layers.1']
    assert not any(isinstance(module, _BatchNorm) for module in net.modules())
    torch.testing.assert_close(net(currents), model(currents), rtol=0, atol=1e-6)


def test_layers_of_one_spike_share_it():
    model = layer_between(nn.Conv2d(3, 2, 1), MultiSpikeNeuron(4), MultiSpikeNeuron(8, gain=2.0))
    x = torch.randn(2, 3, 3, 5, 5)
    net, left = to_int8(model, lambda model: model(x))
    assert not left
    torch.testing.assert_close(net(x), model(x))


def test_sums_that_do_not_fit_are_named():
    model = quantised(MultiSpikeNeuron(255), nn.Linear(70_000, 1), nn.Identity(), bits=8)
    nn.init.constant_(model[1].weight, -10)
    spare = quantised(MultiSpikeNeuron(), nn.Linear(3, 2))
    both = nn.ModuleList([model, spare])

    def forward(both):
        both[0](torch.ones(1, 70_000))
        both[1](torch.ones(1, 3))

    _, left = to_int8(both, forward)
    assert left == {'0.1': 'may have sums of more than 32 bits'}


def test_models_without_such_layers_are_refused():
    with pytest.raises(ValueError, match='no quantised layer: expected'):
        to_int8(nn.Linear(3, 2), lambda model: model(torch.zeros(1, 3)))
    model = quantised(nn.Linear(3, 2))
    with pytest.raises(ValueError, match='no layer can be computed in int8, of 1: 0 takes what'):
        to_int8(model, lambda model: model(torch.zeros(1, 3)))
    with pytest.raises(ValueError, match=r'0\.weight is torch.float64 on cpu: expected'):
        to_int8(model.double(), lambda model: model(torch.zeros(1, 3)))


def test_machines_without_the_operators_are_refused(monkeypatch):
    model = quantised(MultiSpikeNeuron(), nn.Linear(3, 2))

    def missing(self, x):
        raise RuntimeError('no such operator\nat some line')

    monkeypatch.setattr(int8.Int8Layer, 'sums', missing)
    with pytest.raises(RuntimeError, match=r'the int8 operators of oneDNN.*: no such operator$'):
        to_int8(model, lambda model: model(torch.zeros(1, 3)))
    # As of processors that add two products in 16 bits
    monkeypatch.setattr(int8.Int8Layer, 'sums', lambda self, x: torch.full((1,), 32767.0 * 32))
    with pytest.raises(RuntimeError, match='sums of bytes are not exact'):
        to_int8(model, lambda model: model(torch.zeros(1, 3)))
