"""Synaptic operations and what layers take, against counts by hand and SpikingJelly's."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from networks import awaken
from torch import nn
from zoo import FAMILIES, ROOT, classifier_configs

from mmqkformer.analysis import count_operations, measure_work, recording
from mmqkformer.deploy import expand_to_binary, fuse
from mmqkformer.models.shrink import shrink_classifier
from mmqkformer.neurons import LIFNeuron

op_counter = pytest.importorskip('spikingjelly.activation_based.op_counter')


class Net(nn.Module):
    """Layers that a function runs, in eval mode."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.eval()

    def forward(self, x, mode):
        assert mode == 'tensor'
        return self.run(self, x)


def work_of(net, *inputs):
    return measure_work(net, [dict(inputs=x) for x in inputs])


def image(*rows):
    return torch.tensor([[rows]], dtype=torch.float32)


# Row 0 reaches output row 0 only (tap 1), row 1 both (taps 2 and 0), row 2 output row 1 (tap 1)
STRIDED = dict(kernel_size=3, stride=2, padding=1)


@pytest.mark.parametrize(
    ('x', 'kind', 'additions'),
    [
        (image([1, 0, 0], [0, 0, 0], [0, 0, 0]), 'binary', 2 * 1),
        (image([0, 0, 0], [0, 1, 0], [0, 0, 0]), 'binary', 2 * 4),
        (image([1, 1, 0], [0, 1, 0], [0, 0, 0]), 'binary', 2 * (1 + 2 + 4)),
        (image([2, 0, 0], [0, 3, 0], [0, 0, 0]), 'integer', 2 * (2 * 1 + 3 * 4)),
        (image([0.5, 0, 0], [0, 1, 0], [0, 0, 0]), 'analogue', 0),
    ],
    ids=['a corner', 'the middle', 'an edge too', 'numbers', 'analogue'],
)
def test_a_convolution_with_padding_and_stride(x, kind, additions):
    work = work_of(Net(lambda net, x: net.conv(x), conv=nn.Conv2d(1, 2, **STRIDED)), x)
    (layer,) = work.layers
    assert (layer.name, layer.operator) == ('conv', 'aten.convolution')
    assert layer.dense == 2 * 4 * 9
    assert layer.kind == kind
    assert layer.synaptic == additions


@pytest.mark.parametrize(
    'conv',
    [
        nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 0), dilation=(2, 1), groups=2),
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        nn.Conv1d(4, 4, 3, padding=1, groups=4),
    ],
    ids=['of groups, dilated', 'transposed', 'of one axis'],
)
def test_any_convolution_makes_as_many_additions_as_weights_of_one_sum(conv):
    """With weights of 1 and no bias an output is the number of spikes that reach it."""
    size = (5, 6) if isinstance(conv, (nn.Conv2d, nn.ConvTranspose2d)) else (7,)
    x = torch.randint(3, (2, 4, *size), generator=torch.Generator().manual_seed(0)).float()
    nn.init.ones_(conv.weight)
    nn.init.zeros_(conv.bias)
    work = work_of(Net(lambda net, x: net.conv(x), conv=conv), x)
    assert work.synaptic() == float(conv(x).detach().sum()) / 2


def test_two_layers_over_time():
    """Neurons at threshold 1 that let 2 of 3 inputs through, at each of T = 2 steps."""
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 5)
    nn.init.eye_(first.weight)
    # A step into a LIF neuron of tau 1 is its potential
    lif = LIFNeuron(tau=1.0001, v_threshold=1.0)
    net = Net(
        lambda net, x: net.second(net.lif(net.first(x).transpose(0, 1))),
        first=first,
        lif=lif,
        second=second,
    )
    # [B, T, 3], of one sample
    x = torch.tensor([[[0.4, 1.5, 1.5], [1.7, 0.3, 2.5]]])
    before, behind = work_of(net, x).layers
    assert (before.kind, before.dense, before.synaptic) == ('analogue', 2 * 9, 0)
    assert before.factors[0].made_of == 'the image'
    assert (behind.kind, behind.dense, behind.synaptic) == ('binary', 2 * 3 * 5, 4 * 5)
    (factor,) = behind.factors
    assert (factor.mean, factor.nonzero) == pytest.approx((4 / 6, 4 / 6))
    assert (factor.unit, factor.most, factor.made_of) == (1.0, 1, 'spikes')
    (neuron,) = work_of(net, x).neurons
    assert (neuron.name, neuron.updates, neuron.spikes) == ('lif', 6, 4)


def products(left, right):
    """The products of an attention of queries and keys that are the two halves of the input."""
    net = Net(lambda net, x: x[:, 0] @ x[:, 1].transpose(-2, -1))
    return work_of(net, torch.tensor([[left, right]], dtype=torch.float32)).layers


def test_products_of_two_binary_factors_are_the_pairs_that_meet():
    # Two tokens of three channels; they meet once, none, once and twice
    (layer,) = products([[1, 0, 1], [0, 1, 1]], [[1, 0, 0], [0, 1, 1]])
    assert layer.name == ' (1)'
    assert layer.dense == 2 * 2 * 3
    assert (layer.kind, layer.synaptic) == ('binary', 1 + 1 + 0 + 2)
    assert [factor.kind for factor in layer.factors] == ['binary', 'binary']


def test_a_binary_factor_adds_the_numbers_of_the_other():
    """A number counts as one addition where a spike meets it, and 0 as none."""
    (layer,) = products([[1, 0, 1], [0, 1, 1]], [[7, 0, 0], [0, 2, 5]])
    assert (layer.kind, layer.synaptic) == ('binary', 1 + 1 + 0 + 2)
    # Both factors are one tensor, so that the halves are of one origin
    (layer,) = products([[2, 0, 1], [0, 1, 1]], [[7, 0, 0], [0, 2, 5]])
    assert (layer.kind, layer.synaptic) == ('integer', 2 + 1 + 0 + 2)


def test_spikes_add_analogue_numbers():
    """A product of spikes with currents, as in SpikingResformer's attention."""
    net = Net(lambda net, x: net.key(x) @ x.transpose(-2, -1), key=nn.Linear(3, 3))
    key, product = work_of(net, torch.tensor([[[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]]])).layers
    assert (key.kind, key.synaptic) == ('integer', 4 * 3)
    # Each spike adds to the outputs of both tokens
    assert (product.kind, product.synaptic) == ('integer', 4 * 2)
    assert {factor.kind for factor in product.factors} == {'analogue', 'integer'}


def test_the_kind_is_that_of_all_batches():
    net = Net(lambda net, x: net.fc(x), fc=nn.Linear(2, 4))
    zero_one, numbers, fractions = (torch.tensor([x]) for x in ([0.0, 1], [2.0, 1], [0.5, 1]))
    (layer,) = work_of(net, zero_one, zero_one).layers
    assert (layer.kind, layer.synaptic) == ('binary', 4)
    work = work_of(net, zero_one, numbers)
    (layer,) = work.layers
    assert (work.samples, layer.kind, layer.synaptic) == (2, 'integer', (4 + 12) / 2)
    assert layer.dense == 8
    (layer,) = work_of(net, zero_one, fractions).layers
    assert (layer.kind, layer.synaptic) == ('analogue', 0)


def test_weights_never_make_spikes():
    """Currents of whole numbers are analogue, as a chip has no neuron there."""
    first, second = nn.Linear(2, 2), nn.Linear(2, 1)
    nn.init.ones_(first.weight)
    nn.init.zeros_(first.bias)
    net = Net(lambda net, x: net.second(net.first(x)), first=first, second=second)
    work = work_of(net, torch.tensor([[1.0, 0.0]]))
    assert [layer.kind for layer in work.layers] == ['binary', 'analogue']
    assert work.layers[1].factors[0].made_of == 'currents of first'


def build(path, width=32):
    cfg = shrink_classifier(Config.fromfile(ROOT / path).model.to_dict(), width)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg)
    backbone = model.backbone
    backbone.time_steps = min(backbone.time_steps, 2)
    side = backbone.strides[-1] + 3
    if backbone.in_channels == 3:
        x = torch.randn(2, 3, side, side)
    else:
        x = torch.randint(4, (2, backbone.time_steps, 2, side, side)).float()
    return awaken(model, x), x


def one_of_each_family():
    """The first config of each, and the first of events."""
    paths = {}
    for path in classifier_configs():
        family = path.split('/')[1]
        paths.setdefault((family, 'dvs' in path), path)
    assert {family for family, _ in paths} == set(FAMILIES)
    return sorted(paths.values())


@pytest.mark.parametrize('path', one_of_each_family())
def test_every_family_counts_as_with_random_spikes(path):
    """Dense products agree layer by layer, and so does which of them spikes make additions."""
    model, x = build(path)
    work = work_of(model, x)
    expected = count_operations(model, tuple(x.shape[1:]))
    assert work.dense() == expected.total
    assert 0 < work.mean_input < 4
    found = {}
    for layer in work.layers:
        sums = found.setdefault(layer.name.split(' (')[0], [0, 0])
        sums[layer.kind == 'analogue'] += layer.dense
        for factor in layer.factors:
            assert (factor.unit is None) == (factor.kind == 'analogue')
    assert found == {
        name: [sum(layer.accumulates.values()), sum(layer.multiply_accumulates.values())]
        for name, layer in expected.layers.items()
    }


def spikingjelly_counts(model, x):
    """By module and operator, of the whole batch."""
    counter = op_counter.SynOpCounter()
    with torch.no_grad(), op_counter.DispatchCounterMode([counter]):
        model(x)
    counts = counter.get_counts()
    names = {scope.split('.', 1)[1]: scope for scope in counts if '.' in scope}
    return {name.removeprefix('model.'): counts[scope] for name, scope in names.items()}


@pytest.mark.parametrize(
    'path',
    [
        'configs/qkformer/hst-10-384_8xb64_in1k.py',
        'configs/spikingformer/spikingformer-4-384_1xb64_cifar10.py',
    ],
)
def test_spikingjelly_agrees_on_binary_spikes(path):
    """Borders included; it has another view of numbers of spikes."""
    model, x = build(path)
    others = spikingjelly_counts(model, x)
    compared = set()
    attention = None
    for layer in work_of(model, x).layers:
        kinds = {factor.kind for factor in layer.factors}
        if ' (' in layer.name:
            attention = layer.name.split(' (')[0], attention[1] if attention else []
            attention[1].append(layer)
        elif layer.kind == 'analogue' or kinds == {'binary'}:
            assert sum(others[layer.name].values()) == layer.synaptic * len(x), layer.name
            compared.add(layer.kind)
        else:
            # Numbers of spikes are analogue to it
            assert kinds == {'integer'}
            assert sum(others[layer.name].values()) == 0
    assert compared == {'binary', 'analogue'}
    name, (first, second) = attention
    assert [factor.kind for factor in first.factors] == ['binary', 'binary']
    # It counts an addition of a spike also where the number it meets is 0
    binary = next(factor for factor in second.factors if factor.kind == 'binary')
    assert 'integer' in {factor.kind for factor in second.factors}
    theirs = first.synaptic + binary.mean * second.dense
    assert others[name][torch.ops.aten.bmm.default] == pytest.approx(theirs * len(x))
    assert second.synaptic < binary.mean * second.dense


@pytest.mark.parametrize(
    'path',
    [
        'configs/qkformer/hst-10-384_8xb64_in1k.py',
        'configs/e_spikeformer/e-spikeformer-10m_8xb256_in1k.py',
    ],
    ids=['sums', 'graded'],
)
def test_spikingjelly_agrees_on_numbers_of_spikes_once_they_are_binary(path):
    """Of the same network with n binary maps for numbers up to n, it counts the same additions."""
    model, x = build(path)
    others = spikingjelly_counts(expand_to_binary(model), x)
    compared = 0
    for layer in work_of(model, x).layers:
        # In front of the head stands a mean over one step, behind which there are no maps
        if layer.kind == 'integer' and len(layer.factors) == 1 and layer.name != 'head.fc':
            assert sum(others[layer.name].values()) == layer.synaptic * len(x), layer.name
            compared += layer.synaptic > 0
    assert compared > 10


def test_what_is_equal_at_all_steps_is_counted_once():
    model, x = build('configs/qkformer/hst-10-384_8xb64_in1k.py')
    image = work_of(model, x).layers[0]
    model.backbone.time_steps = 5
    first, second = work_of(model, x).layers[:2]
    assert first == image
    # The layer behind the first neuron sees every step
    with recording(model, 'backbone.stages.0.embed.convs.0') as spikes, torch.no_grad():
        model(x, mode='tensor')
    ((spikes,),) = spikes.values()
    assert spikes.shape[:2] == (5, 2)
    weights = model.backbone.stages[0].embed.convs[1].conv.weight.numel()
    assert second.dense == 5 * spikes.size(3) * spikes.size(4) * weights
    assert second.factors[0].mean == pytest.approx(float(spikes.mean()))


def test_folding_takes_the_analogue_layers_inside_a_repconv_away():
    model, x = build('configs/meta_spikeformer/meta-spikeformer-15m-t1_8xb128_in1k.py')
    trained, deployed = work_of(model, x), work_of(fuse(model), x)
    inside = 'attention.proj.conv.depthwise'
    (layer,) = [layer for layer in trained.layers if layer.name.endswith('3.blocks.0.' + inside)]
    assert layer.kind == 'analogue'
    assert layer.factors[0].made_of.endswith('attention.proj.conv.mix')
    assert not [layer for layer in deployed.layers if inside in layer.name]
    assert deployed.dense('analogue') < trained.dense('analogue')


def test_what_cannot_be_counted_is_refused():
    net = Net(lambda net, x: net.fc(x), fc=nn.Linear(2, 4))
    with pytest.raises(ValueError, match='batches: expected at least one'):
        work_of(net)
    with pytest.raises(ValueError, match='model: expected one in eval mode'):
        work_of(net.train(), torch.ones(1, 2))


def test_the_model_stays_as_it_was():
    """Without hooks, also where its forward pass fails, and with the same outputs."""

    def failing(net, x):
        net.fc(x)
        raise KeyError

    net = Net(failing, fc=nn.Linear(2, 4))
    with pytest.raises(KeyError):
        work_of(net, torch.ones(1, 2))
    hooks = [h for m in net.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks)]
    assert hooks == []
    model, x = build('configs/qkformer/hst-4-384_1xb64_cifar10.py')
    with torch.no_grad():
        before = model(x, mode='tensor')
        work_of(model, x)
        assert torch.equal(model(x, mode='tensor'), before)
