"""Tables, file and picture of firing rates; and a training that logs them."""

import csv
import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmqkformer.analysis import FiringRates, LayerRate
from mmqkformer.analysis.subject import RANDOM_WEIGHTS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/qkformer/hst-3-128_1xb64_digits.py'
WEIGHTS = ROOT / 'weights/qkformer_hst-3-128_1xb64_digits.pth'
TOOL = 'analysis_tools/firing_rate.py'


def rows_of(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(line for line in file if not line.startswith('#')))


def test_rates_of_the_shipped_weights(run_tool, tmp_path, capsys):
    run_tool(TOOL, CONFIG, WEIGHTS, '--images', 8, '--out', tmp_path / 'new')
    out = capsys.readouterr().out
    assert 'RANDOM' not in out
    assert 'Published' not in out
    rows = rows_of(tmp_path / 'new/firing_rates.csv')
    neurons = [row for row in rows if row['column'] != "X'"]
    assert len(neurons) == 28
    assert '28 neurons, 8 samples, T = 4' in out
    for row in neurons:
        assert re.search(rf'^ .*\b{row["role"]} +{float(row["rate"]):.4f} ', out, re.M)
        steps = [float(row[f'rate_{t}']) for t in range(1, 5)]
        assert float(row['rate']) == pytest.approx(sum(steps) / 4)
        assert int(row['spikes']) / int(row['outputs']) == float(row['rate'])
    (measured,) = re.findall(r'^ +stage 2 +(.*?) *$', out, re.M)
    stage = {row['column']: float(row['rate']) for row in rows if row['stage'] == '2'}
    expected = [stage[c] for c in ('Q', 'K', 'A', "X'", "X''", 'MLP 1', 'MLP 2')]
    assert measured.split() == [f'{rate:.4f}' for rate in expected]
    assert 0 < stage["X'"] < stage['K']
    with Image.open(tmp_path / 'new/firing_rates.png') as picture:
        assert min(picture.size) > 400


def test_random_weights_are_called_so_everywhere(run_tool, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    titles = []
    monkeypatch.setattr(
        'mmqkformer.analysis.rate_figure.draw_firing_rates',
        lambda figure, rates, title: titles.append(title),
    )
    run_tool(TOOL, CONFIG, '--images', 2)
    assert capsys.readouterr().out.startswith(RANDOM_WEIGHTS)
    folder = tmp_path / 'work_dirs/hst-3-128_1xb64_digits/firing_rates'
    assert (folder / 'firing_rates.csv').read_text().startswith(f'# {RANDOM_WEIGHTS}\n')
    assert 'RANDOM WEIGHTS' in titles[0]


def test_the_published_table_stands_beside_the_network_that_it_is_of(capsys):
    tool = runpy.run_path(str(ROOT / 'tools' / TOOL))
    layer = LayerRate('q', 1, 1, 'attention', 'attention.query', 'Q', 1, 1.0, 8, 2, 0.25, 0.25,
                      [0.25], [0.25])  # fmt: skip
    rates = FiringRates(3, 1, [layer], [])
    cfg = Config.fromfile(ROOT / 'configs/qkformer/hst-10-768_8xb64_in1k.py')
    tool['print_tables'](SimpleNamespace(name='hst-10-768_in1k', cfg=cfg), rates)
    measured, published = capsys.readouterr().out.split('Published, not measured here')
    assert 'Measured: hst-10-768_in1k, 3 samples' in measured
    assert re.search(r'stage 1 +0\.2500 +- +- +- +- +- +-', measured)
    assert re.search(r'stage 1 +0\.0432 +0\.1784 +0\.3477 +0\.0832 +0\.1478', published)
    assert re.search(r'stage 2 +0\.0231 .* 0\.1869', published)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((CONFIG, 'nothing.pth'), r'^error: .*nothing\.pth'),
        ((CONFIG, WEIGHTS, '--out', '{folder}/file'), r'^error: .*file'),
        ((CONFIG, WEIGHTS, '--cfg-options', 'test_dataloader=None'), r'^error: .*test_dataloader'),
        ((CONFIG, WEIGHTS, '--cfg-options', 'model.head.num_classes=7'), r'^error: checkpoint'),
        ((ROOT / 'configs/qkformer/hst-10-384_8xb64_in1k.py',), r'^error: .*data_root'),
        (('nothing.py',), r'^error: .*nothing\.py'),
    ],
)
def test_bad_input_is_one_error(arguments, message, run_tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').write_text('')
    arguments = [str(argument).format(folder=tmp_path) for argument in arguments]
    with pytest.raises(SystemExit, match=message):
        run_tool(TOOL, *arguments)


def test_a_training_logs_rates_to_file_and_board(make_config, run_tool, caplog):
    config = make_config(
        (
            'custom_hooks = [',
            "custom_hooks = [dict(type='FiringRateHook', interval=3), "
            "dict(type='OptimStepEMAHook', num_samples=4), ",
        ),
        ("dict(type='LocalVisBackend')", "dict(type='LocalVisBackend'), "
         "dict(type='TensorboardVisBackend')"),
    )  # fmt: skip
    run_tool('train.py', config)
    folder = config.parent / 'work_dir'
    (scalars,) = folder.rglob('vis_data/scalars.json')
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    found = {
        phase: [line for line in lines if f'{phase}/firing_rate/network' in line]
        for phase in ('train', 'val')
    }
    # Two epochs of four iterations
    assert [line['step'] for line in found['train']] == [3, 6]
    assert [line['step'] for line in found['val']] == [1, 2]
    (events,) = folder.rglob('events.out.tfevents.*')
    board = EventAccumulator(str(events))
    board.Reload()
    name = 'val/firing_rate/backbone.stages.0.embed.convs.0.neuron'
    points = {event.step: event.value for event in board.Scalars(name)}
    assert points == {line['step']: pytest.approx(line[name]) for line in found['val']}
    assert torch.load(folder / 'epoch_2.pth', weights_only=True)
