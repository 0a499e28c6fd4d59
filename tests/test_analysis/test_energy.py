"""Energies by hand, SpikingJelly's beside them, and what published ones imply."""

import sys

import matplotlib.pyplot as plt
import pytest
import torch
from mmengine.registry import MODELS
from networks import awaken
from torch import nn

from mmqkformer.analysis import (
    ENERGY_MODELS,
    FLOAT32,
    INT8,
    PUBLISHED_ENERGIES,
    Factor,
    LayerWork,
    NeuronWork,
    PublishedEnergy,
    Remark,
    Work,
    ann_operations,
    estimate_energy,
    implied_input,
    measure_work,
    purity,
    spikingjelly_energy,
)
from mmqkformer.analysis.energy.figure import draw_energy, figure_height, in_joules, layer_rows

T, C = 3, 8


class Model(nn.Module):
    """One stage of 8 channels at stride 2 with an attention of two products, and a linear layer."""

    def __init__(self, time_steps=T, in_channels=3):
        super().__init__()
        self.backbone = MODELS.build(
            dict(
                type='QKFormer',
                arch=dict(
                    embed_dims=[C],
                    depths=[1],
                    num_heads=[2],
                    mlp_ratios=[2],
                    attentions=['SpikingSelfAttention'],
                    stem=dict(channels=[4, C], pools=[False, True], shortcut_from=1),
                    pool='last',
                ),
                time_steps=time_steps,
                in_channels=in_channels,
            )
        )
        self.fc = nn.Linear(C, 5)

    def forward(self, x, mode='tensor'):
        return self.fc(self.backbone(x)[0].mean((2, 3)))


def factor(kind, **kwargs):
    unit = None if kind == 'analogue' else 1.0
    values = dict(unit=unit, mean=unit, most=1, nonzero=1.0, made_of='spikes')
    return Factor(kind, **{**values, **kwargs})


def layer(name, kind, dense, synaptic=0.0, *factors):
    return LayerWork(name, 'aten.mm', kind, list(factors) or [factor(kind)], dense, synaptic)


WORK = Work(
    samples=2,
    layers=[
        layer('first', 'analogue', 1_000, 0.0, factor('analogue', made_of='the image')),
        layer('second', 'binary', 6_000, 300.0),
        layer('third', 'integer', 4_000, 700.0),
    ],
    neurons=[NeuronWork('neuron', 50, 12.0)],
    remarks=[Remark('second', 'scales', True), Remark('pool', 'compares', False)],
)


def test_an_energy_by_hand():
    """4.6 pJ for each of 1,000 MACs, 0.9 pJ for each of 1,000 additions."""
    estimate = estimate_energy(WORK, 2_500, FLOAT32)
    assert estimate.snn_mj == pytest.approx((4_600 + 900) * 1e-9)
    assert estimate.neurons_mj == pytest.approx(50 * 4.6e-9)
    assert estimate.ann_mj == pytest.approx(2_500 * 4.6e-9)
    assert estimate.ann_int8_mj == pytest.approx(2_500 * 0.23e-9)
    assert estimate.mean_input == 0.1
    # 4,600 + 0.9 * 10,000 r = 11,500
    assert estimate.break_even == pytest.approx(6_900 / 9_000)
    # The first layer alone costs more than the ANN's 575 pJ
    assert estimate.break_even_int8 is None
    assert estimate_energy(WORK, 2_500, INT8).snn_mj == pytest.approx((230 + 30) * 1e-9)


def test_at_the_break_even_both_cost_the_same():
    estimate = estimate_energy(WORK, 2_500, FLOAT32)
    factor = estimate.break_even / estimate.mean_input
    layers = [layer(x.name, x.kind, x.dense, x.synaptic * factor) for x in WORK.layers]
    again = estimate_energy(Work(1, layers, [], []), 2_500, FLOAT32)
    assert again.snn_mj == pytest.approx(again.ann_mj)


def test_a_network_without_spikes_has_no_break_even():
    work = Work(1, WORK.layers[:1], [], [])
    estimate = estimate_energy(work, 2_500, FLOAT32)
    assert (estimate.mean_input, estimate.break_even) == (0.0, None)


def test_the_purity_by_hand():
    pure = purity(WORK)
    assert pure.shares == pytest.approx(dict(binary=6 / 11, integer=4 / 11, analogue=1 / 11))
    assert [(remark.name, remark.reason) for remark in pure.impure] == [
        ('first', 'takes the image: analogue numbers'),
        ('pool', 'compares'),
    ]
    assert pure.folds == [Remark('second', 'scales', True)]


@pytest.mark.parametrize(
    ('factors', 'reason'),
    [
        ([factor('analogue', made_of='means of spikes')], 'takes means of spikes: as additions'),
        ([factor('analogue', made_of='currents of a.b')], 'currents of a.b: no neuron stands'),
        ([factor('integer', most=4), factor('integer', most=7)], 'spikes, up to 4 and 7: repeated'),
    ],
)
def test_why_a_layer_is_no_additions_of_spikes(factors, reason):
    work = Work(1, [layer('x', factors[0].kind, 10, 1.0, *factors)], [], [])
    assert reason in purity(work).impure[0].reason


def test_a_binary_factor_adds_what_the_other_holds():
    work = Work(1, [layer('x', 'binary', 9, 1.0, factor('binary'), factor('integer'))], [], [])
    assert purity(work).impure == []


def test_the_ann_runs_one_step():
    """By hand as in test_operations.py, for one step; the model keeps its own."""
    model = Model().eval()
    stem = 64 * 4 * 27 + 64 * C * 4 * 9 + 16 * C * 4
    tokens, heads = 16, 2
    block = tokens * (4 * C * C + 2 * C * 2 * C) + 2 * heads * tokens * 4 * 4
    assert ann_operations(model, (3, 8, 8)) == stem + block + 5 * C
    assert model.backbone.time_steps == T
    events = Model(in_channels=2).eval()
    assert ann_operations(events, (T, 2, 8, 8)) == stem - 64 * 4 * 9 + block + 5 * C
    with pytest.raises(ValueError, match='Linear: expected a model with a spiking backbone'):
        ann_operations(nn.Linear(2, 2), (3, 8, 8))


def test_a_published_energy_implies_a_mean_input_by_hand():
    """An energy of first layer and all others at 0.5 spikes an input gives 0.5 back."""
    model = Model()
    first = 64 * 4 * 27
    stem = T * (64 * C * 4 * 9 + 16 * C * 4)
    tokens, heads = 16, 2
    block = T * (tokens * (4 * C * C + 2 * C * 2 * C) + 2 * heads * tokens * 4 * 4)
    dense = stem + block + 5 * C
    energy = (4.6 * first + 0.9 * 0.5 * dense) * 1e-9
    implied = implied_input(model, PublishedEnergy('c', 'M', 8, energy))
    assert (implied.first_macs, implied.dense) == (first, dense)
    assert implied.mean_input == pytest.approx(0.5)
    assert implied.mean_input_repeated == pytest.approx(0.5 - 2 * 4.6 * first / (0.9 * dense))


def test_published_energies_are_of_configs_that_there_are():
    from zoo import ROOT

    for published in PUBLISHED_ENERGIES:
        assert (ROOT / f'configs/qkformer/{published.config}.py').is_file()
    assert {entry.energy_mj for entry in PUBLISHED_ENERGIES} >= {15.13, 21.99, 38.91}


@pytest.fixture(scope='module')
def small():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    return awaken(Model(), x), x


def test_spikingjelly_runs_on_the_model_as_it_is(small):
    model, x = small
    simple, ann, lemaire, spikesim = spikingjelly_energy(model, x)
    for estimate in (simple, ann, lemaire, spikesim):
        assert estimate.energy_mj > 0
        assert estimate.source.startswith('https://')
    assert 0 < simple.memory_mj < simple.energy_mj
    assert 0 < lemaire.memory_mj < lemaire.energy_mj
    assert spikesim.memory_mj is None
    assert any('LIFNeuron' in remark for remark in lemaire.remarks)
    # Of one sample: twice the batch gives the same
    for once, twice in zip(
        (simple, ann, lemaire, spikesim), spikingjelly_energy(model, x.repeat(2, 1, 1, 1))
    ):
        assert twice.energy_mj == pytest.approx(once.energy_mj, rel=1e-9), once.name


def test_spikingjelly_counts_an_ann_densely(small):
    """Of every weight that is used a byte is read: 6.24 pJ, and a MAC is 0.23 pJ."""
    model, x = small
    macs = ann_operations(model, (3, 8, 8))
    products = 2 * 2 * 16 * 4 * 4  # those of the attention read no weights
    biases = 0.0
    for module, outputs in _outputs_with_bias(model):
        biases += outputs * (module.bias is not None)
    ann = spikingjelly_energy(model, x)[1]
    assert ann.memory_mj == pytest.approx((macs - products + biases) * 24.96e-9)


def _outputs_with_bias(model):
    """Layers that add biases in one step, and how many outputs of a sample they have."""
    tokens = 16
    block = model.backbone.stages[0].blocks[0]
    layers = ((block.attention.proj.conv, C), (block.mlp.fc1.conv, 2 * C), (block.mlp.fc2.conv, C))
    yield from ((conv, tokens * width) for conv, width in layers)
    yield model.fc, 5


def test_without_spikingjelly_its_estimates_are_one_error(small, monkeypatch):
    monkeypatch.setitem(sys.modules, 'spikingjelly.activation_based.op_counter', None)
    monkeypatch.delattr('spikingjelly.activation_based.op_counter', raising=False)
    with pytest.raises(ImportError, match=r'expected spikingjelly>=2\.0\.0'):
        spikingjelly_energy(*small)


@pytest.mark.parametrize(
    ('energy_mj', 'text'),
    [(38.91, '38.9 mJ'), (2500.0, '2.5 J'), (0.0286, '28.6 µJ'), (97e-6, '97 nJ'), (0.0, '0 pJ')],
)
def test_energies_have_units_that_suit_them(energy_mj, text):
    assert in_joules(energy_mj) == text


def test_the_chart_has_a_bar_for_each_layer_and_model(small):
    model, x = small
    work = measure_work(model, [dict(inputs=x)])
    estimates = [estimate_energy(work, 1_000, energy) for energy in ENERGY_MODELS]
    figure = plt.figure()
    draw_energy(figure, work, estimates)
    layers, shares, models = figure.axes
    names = [label.get_text() for label in layers.get_yticklabels()]
    assert names[0] == 'stages.0.embed.convs.0'
    assert len(names) == len(work.layers)
    widths = [0.0] * len(names)
    for i, patch in enumerate(layers.patches):
        widths[i % len(names)] += patch.get_width()
    assert sum(widths) == pytest.approx(estimates[0].snn_mj * 1e6)
    assert sum(patch.get_width() for patch in shares.patches) == pytest.approx(2)
    assert [patch.get_width() for patch in models.patches] == pytest.approx(
        [mj for e in estimates for mj in (e.snn_mj, e.ann_mj)]
    )
    plt.close(figure)


def test_many_layers_are_drawn_by_branch():
    names = [
        f'backbone.stages.{i}.blocks.{j}.{branch}.{conv}.conv'
        for i in range(2)
        for j in range(20)
        for branch in ('attention', 'mlp')
        for conv in ('fc1', 'fc2')
    ]
    work = Work(1, [layer(name, 'binary', 10, 5.0) for name in names], [], [])
    rows = layer_rows(work, FLOAT32)
    assert len(rows) == 40
    assert rows['stages.1.blocks.19']['binary'] == pytest.approx(4 * 5 * 0.9)
    assert figure_height(work, FLOAT32) < 12
