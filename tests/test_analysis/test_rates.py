"""Firing rates are those that a hand, or SpikingJelly's monitor, counts."""

import dataclasses
import json

import pytest
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from networks import awaken
from spikingjelly.activation_based.monitor import OutputMonitor
from torch import nn
from zoo import FAMILIES, ROOT, classifier_configs

from mmqkformer.analysis import firing_rates, recording, table_7
from mmqkformer.analysis.published import COLUMNS, PAPER_TABLE_7
from mmqkformer.analysis.rate_figure import draw_firing_rates, figure_of
from mmqkformer.analysis.rates import GROUPS
from mmqkformer.deploy import fuse
from mmqkformer.layers import AttentionMap
from mmqkformer.models.shrink import shrink_classifier
from mmqkformer.neurons import BatchLeakingNeuron, IFNeuron, ILIFNeuron, SpikingNeuron


class ByHand(nn.Module):
    """Shows currents ``[B, N]`` for three steps to each of its neurons."""

    def __init__(self, *neurons, time_steps=3):
        super().__init__()
        self.neurons = nn.ModuleList(neurons)
        self.time_steps = time_steps

    def forward(self, inputs, mode):
        assert mode == 'tensor'
        currents = inputs.expand(self.time_steps, *inputs.shape)
        return [neuron(currents) for neuron in self.neurons]


def batch(*rows):
    return dict(inputs=torch.tensor(rows))


def test_spikes_of_a_binary_neuron_are_those_counted_by_hand():
    # V = 0.5, 1.0 (a spike, V = 0), 0.5; a current of at least 1 fires at every step
    rates = firing_rates(ByHand(IFNeuron()), [batch([0.5, 1.0], [0.0, 2.0])])
    (layer,) = rates.layers
    assert (rates.samples, rates.time_steps) == (2, 3)
    assert (layer.name, layer.spikes, layer.outputs) == ('neurons.0', 7, 12)
    assert layer.rates == layer.actives == [2 / 4, 3 / 4, 2 / 4]
    assert layer.rate == layer.active == rates.mean == 7 / 12
    assert (layer.stage, layer.block, layer.column) == (None, None, None)


@pytest.mark.parametrize('levels', [4, 3])
def test_spikes_of_a_graded_neuron_are_whole_whatever_their_unit(levels):
    # H[t] = (H[t-1] - S[t-1]) / 4 + X: 2.2, 2.25, 2.2625; 0.45, 0.5625, 0.34; beyond the most; -1
    neuron = ILIFNeuron(levels=levels, decay=0.25, normalize=True)
    rates = firing_rates(ByHand(neuron), [batch([2.2, 0.45], [20.0, -1.0])])
    (layer,) = rates.layers
    assert (layer.levels, layer.unit) == (levels, 1 / levels)
    assert layer.spikes == 3 * 2 + 1 + 3 * levels
    assert layer.rates == [(2 + levels) / 4, (3 + levels) / 4, (2 + levels) / 4]
    assert layer.actives == [2 / 4, 3 / 4, 2 / 4]
    assert layer.active == 7 / 12


def test_batches_count_by_their_samples():
    model, rows = ByHand(IFNeuron(), ILIFNeuron()), torch.linspace(0, 3, 35).view(5, 7)
    together = firing_rates(model, [dict(inputs=rows)])
    apart = firing_rates(model, (dict(inputs=part) for part in (rows[:1], rows[1:2], rows[2:])))
    assert apart == together
    assert together.samples == 5
    counts = model(rows, 'tensor')[0]
    assert together.layers[0].rates == counts.double().mean((1, 2)).tolist()


def test_calls_of_a_neuron_are_pooled_step_by_step():
    class Shared(ByHand):
        def forward(self, inputs, mode):
            super().forward(inputs, mode)
            # One place each, that fires at each of two steps
            return self.neurons[0](torch.ones(2, len(inputs), 1))

    (layer,) = firing_rates(Shared(IFNeuron()), [batch([0.5, 1.0], [0.0, 2.0])]).layers
    assert layer.rates == [(2 + 2) / 6, (3 + 2) / 6, 2 / 4]
    assert (layer.spikes, layer.outputs) == (11, 16)


def test_a_neuron_without_a_time_axis_has_one_step():
    model = ByHand(ILIFNeuron(decay=None), time_steps=1)
    rates = firing_rates(model, [batch([2.2, 0.45])])
    assert rates.time_steps == 1
    assert rates.layers[0].rates == [1.0]


@pytest.mark.parametrize('as_it_is', [False, True])
def test_the_model_is_left_as_it_was(as_it_is):
    norm = nn.BatchNorm1d(1)
    model = ByHand(IFNeuron(), nn.Dropout(0.5), nn.Dropout(0.5), norm)
    model.neurons[1].eval()
    state, data = torch.get_rng_state(), batch([1.0, 2.0])
    firing_rates(model, [data], as_it_is)
    with pytest.raises(AttributeError):
        firing_rates(model, [dict(inputs=None)], as_it_is)
    assert model.training
    assert [module.training for module in model.neurons] == [True, False, True, True]
    assert (norm.running_mean, norm.running_var, norm.num_batches_tracked) == (0, 1, 0)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    model(**data, mode='tensor')
    assert norm.num_batches_tracked == 1
    assert not torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(('as_it_is', 'rate'), [(False, 0.0), (True, 0.5)])
def test_a_training_normalises_by_the_batch(as_it_is, rate):
    """Currents of -0.5 and 0.5: as they are none reaches the threshold, normalised one does."""

    class Normed(ByHand):
        def forward(self, inputs, mode):
            return super().forward(1.01 * self.norm(inputs), mode)

    model = Normed(IFNeuron(), time_steps=1)
    model.norm = nn.BatchNorm1d(1)
    (layer,) = firing_rates(model, [batch([-0.5], [0.5])], as_it_is).layers
    assert layer.rate == rate


@pytest.mark.parametrize('method', ['module', 'forward'])
def test_a_compiled_model_is_measured_as_it_was_before(method):
    model, data = ByHand(IFNeuron()), batch([0.5, 1.0])
    plain = firing_rates(model, [data])
    if method == 'module':
        model.neurons[0].compile(backend='eager')
    else:
        model.forward = torch.compile(model.forward, backend='eager')
    model(**data, mode='tensor')
    assert firing_rates(model, [data]) == plain


@pytest.mark.parametrize(
    ('model', 'batches', 'message'),
    [
        (nn.Linear(2, 2), [], 'expected a model with spiking neurons, not Linear'),
        (ByHand(IFNeuron()), [], 'batches: expected at least one sample'),
        (ByHand(nn.ModuleList([IFNeuron()])), None, 'expected a neuron of ByHand to fire'),
    ],
)
def test_what_cannot_be_measured_is_told(model, batches, message):
    if batches is None:
        model.neurons[0].forward = lambda x: x
        batches = [batch([1.0])]
    with pytest.raises(ValueError, match=message):
        firing_rates(model, batches)


def small_classifier(path):
    """A trained one's likeness, with a batch that it takes."""
    torch.manual_seed(0)
    cfg = Config.fromfile(ROOT / path).model
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(shrink_classifier(cfg, width=32))
    backbone, size = model.backbone, max(32, model.backbone.strides[-1])
    shape = (2, backbone.in_channels, size, size)
    if backbone.in_channels == 2:
        inputs = torch.randint(3, (2, backbone.time_steps, *shape[1:])).float()
    else:
        inputs = torch.randn(shape)
    awaken(backbone, inputs)
    return model.eval(), inputs


def one_of_each_family():
    paths = classifier_configs()
    return [next(path for path in paths if f'/{family}/' in path) for family in FAMILIES]


@pytest.mark.parametrize('path', one_of_each_family())
def test_every_family_fires_as_the_monitor_of_spikingjelly_counts(path):
    model, inputs = small_classifier(path)
    monitor = OutputMonitor(model, SpikingNeuron, lambda spikes: spikes.double())
    with monitor, torch.no_grad():
        model(inputs)
    rates = firing_rates(model, [dict(inputs=inputs)])
    names = {name for name, module in model.named_modules() if isinstance(module, SpikingNeuron)}
    for name, module in model.named_modules():
        if isinstance(module, BatchLeakingNeuron):
            names.remove(f'{name}.neuron')
    assert {layer.name for layer in rates.layers} == names
    for layer in rates.layers:
        spikes = torch.cat([x.flatten(1) for x in monitor[layer.name]], 1)
        torch.testing.assert_close(
            torch.tensor([layer.rates, layer.actives], dtype=torch.float64),
            torch.stack([spikes.mean(1) / layer.unit, (spikes != 0).double().mean(1)]),
            rtol=1e-6,
            atol=0,
        )
        assert (layer.stage is None) == (layer.group in ('head', 'output'))
        assert layer.group in GROUPS
        assert layer.rate <= layer.levels
    # Products of so few channels seldom reach a threshold
    silent = [layer.role for layer in rates.layers if layer.rate == 0]
    assert all('attention' in role for role in silent)


QK = dict(type='QKTokenAttention', name='attention', num_heads=2)
MLP = dict(type='SpikingMLP', name='mlp', ratio=2)


def backbone(first, neuron='LIFNeuron', **kwargs):
    torch.manual_seed(0)
    embed = dict(type='ConvEmbed', units=[dict(kernel_size=3)])
    stages = [
        dict(embed=embed, block=[first, MLP], channels=8, depth=2),
        dict(embed=embed, block=[dict(type='ConvUnit')], channels=8, depth=1),
    ]
    model = MODELS.build(
        dict(type='SpikingBackbone', stages=stages, neuron=dict(type=neuron), **kwargs)
    )
    inputs = torch.randn(2, 3, 5, 6)
    return awaken(model, inputs), inputs


class WithMode(nn.Module):
    """A backbone that is called as a model."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, inputs, mode):
        return self.backbone(inputs)


@pytest.mark.parametrize('neuron', ['LIFNeuron', 'MultiSpikeNeuron'])
@pytest.mark.parametrize('attention', [QK, dict(type='QKChannelAttention', name='attention')])
def test_table_7_is_that_of_the_paper(attention, neuron):
    model, inputs = backbone(attention, neuron)
    with recording(model, lambda name, m: isinstance(m, (SpikingNeuron, AttentionMap))) as seen:
        model(inputs)

    def pooled(name, spikes=lambda x: x):
        blocks = [f'stages.0.blocks.{i}.{name}' for i in range(2)]
        unit = model.get_submodule(blocks[0]).unit
        return float(torch.cat([spikes(seen[b][0]).flatten() for b in blocks]).mean() / unit)

    table = table_7(firing_rates(WithMode(model), [dict(inputs=inputs)]))
    assert list(table) == [1]
    names = dict(
        zip(COLUMNS, ('attention.query.neuron', 'attention.key.neuron', 'attention.mask_neuron'))
    )
    names |= {"X''": 'attention_neuron', 'MLP 1': 'mlp.fc1.neuron', 'MLP 2': 'mlp_neuron'}
    for column, name in names.items():
        assert table[1][column] == pytest.approx(pooled(name), rel=1e-5), column
    # X' = A (x) K, of the tap and the neuron
    total = count = 0
    for i in range(2):
        block = f'stages.0.blocks.{i}.attention'
        mask, key = seen[f'{block}.attention_map'][0], seen[f'{block}.key.neuron'][0]
        if mask.size(2) == 2:
            mask = mask.repeat_interleave(4, 2)
        unit = model.get_submodule(f'{block}.mask_neuron').unit
        unit *= model.get_submodule(f'{block}.key.neuron').unit
        total += float((mask * key).sum() / unit)
        count += key.numel()
    assert 0 < table[1]["X'"] == pytest.approx(total / count, rel=1e-5)


def test_a_fused_network_has_the_same_rates():
    """Its queries and keys are one convolution; in float64 all spikes stay."""
    model, inputs = backbone(QK)
    model, data = model.double(), [dict(inputs=inputs.double())]
    assert firing_rates(WithMode(fuse(model)), data) == firing_rates(WithMode(model), data)


def test_behind_the_branches_of_membranes_no_neuron_stands():
    model, inputs = backbone(QK, residual='membrane')
    (row,) = table_7(firing_rates(WithMode(model), [dict(inputs=inputs)])).values()
    assert [column for column in COLUMNS if row[column] is None] == ["X''", 'MLP 2']


def test_other_attentions_have_no_table_7():
    model, inputs = backbone(dict(type='SpikingSelfAttention', name='attention', num_heads=2))
    rates = firing_rates(WithMode(model), [dict(inputs=inputs)])
    assert table_7(rates) == {}
    assert rates.masked_keys == []


def test_the_published_table_has_the_same_columns():
    assert all(tuple(row) == COLUMNS for row in PAPER_TABLE_7.values())


def test_places_are_those_of_the_network():
    model, inputs = backbone(QK)
    rates = firing_rates(WithMode(model), [dict(inputs=inputs)])
    places = [(layer.stage, layer.block, layer.group, layer.role) for layer in rates.layers]
    block = [
        ('attention', 'attention.key'),
        ('attention', 'attention.query'),
        ('attention', 'attention.mask_neuron'),
        ('attention', 'attention_neuron'),
        ('branch', 'mlp.fc1'),
        ('branch', 'mlp_neuron'),
    ]
    assert places == [
        (1, None, 'embedding', 'embed.convs.0'),
        *((1, i, *part) for i in (1, 2) for part in block),
        (2, None, 'embedding', 'embed.convs.0'),
        (2, 1, 'branch', 'branch0_neuron'),
    ]
    keys = [(entry.stage, entry.block, entry.role) for entry in rates.masked_keys]
    assert keys == [(1, 1, 'attention'), (1, 2, 'attention')]


def test_rates_are_json():
    rates = firing_rates(ByHand(ILIFNeuron()), [batch([2.2])])
    told = json.loads(json.dumps(dataclasses.asdict(rates)))
    assert told['layers'][0]['rates'] == rates.layers[0].rates


@pytest.mark.parametrize('time_steps', [1, 20])
def test_the_figure_has_a_bar_and_a_row_for_each_layer(time_steps):
    model = ByHand(IFNeuron(), ILIFNeuron(), time_steps=time_steps)
    rates = firing_rates(model, [batch([0.5, 1.0])])
    figure = figure_of(rates)
    assert isinstance(figure, Figure)
    draw_firing_rates(figure, rates, 'title')
    bars, steps = figure.axes[:2]
    assert [bar.get_width() for bar in bars.patches] == [layer.rate for layer in rates.layers]
    (image,) = steps.images
    assert image.get_array().tolist() == [layer.rates for layer in rates.layers]
    figure.canvas.draw()
