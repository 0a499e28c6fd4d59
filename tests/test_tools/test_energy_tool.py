"""What tools/analysis_tools/energy.py prints and writes."""

import csv
import json
import shutil

import pytest

import mmqkformer.analysis
from mmqkformer.analysis import PublishedEnergy

TOOL = 'analysis_tools/energy.py'


def read(folder):
    with open(folder / 'energy.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((folder / 'energy.json').read_text())


def test_a_trained_model_as_it_is_deployed(trained, run_tool, tmp_path, capsys):
    config, work_dir = trained
    arguments = (config, work_dir / 'epoch_2.pth', '--out', tmp_path, '--neurons')
    run_tool(TOOL, *arguments, '--images', 6)
    text = capsys.readouterr().out
    rows, everything = read(tmp_path)
    assert 'RANDOM' not in text
    assert {row['weights'] for row in rows} == {everything['weights']} == {'trained'}
    work = everything['work']
    assert work['samples'] == 6
    names = [layer['name'] for layer in work['layers']]
    assert names == [row['layer'] for row in rows]
    # Query, key and value are one layer of a deployed network
    assert 'backbone.stages.1.blocks.0.attention.joined.conv' in names
    first, head = rows[0], rows[-1]
    assert (first['kind'], first['made_of1'], first['mean1']) == ('analogue', 'the image', '')
    # 16 x 16 pixels, 3 to 4 channels, and 16 channels to two classes
    assert int(first['dense']) == 256 * 4 * 27
    assert float(first['pJ, 45 nm, float32']) == pytest.approx(4.6 * 256 * 4 * 27)
    assert (head['layer'], int(head['dense'])) == ('head.fc', 32)
    spent = sum(float(row['pJ, 45 nm, float32']) for row in rows)
    float32, int8 = everything['energy']
    assert float32['snn_mj'] == pytest.approx(spent * 1e-9)
    assert int8['ann_mj'] == float32['ann_int8_mj'] == pytest.approx(0.23e-9 * int8['ann_macs'])
    assert len(everything['spikingjelly']) == 4
    for name in (
        *names,
        'as deployed',
        'takes the image',
        'backbone.stages.0.embed.convs.0.neuron',
    ):
        assert name in text
    assert (tmp_path / 'energy.png').stat().st_size > 1e4
    assert len(list(tmp_path.iterdir())) == 3


def test_random_weights_are_told_everywhere(make_config, run_tool, tmp_path, capsys):
    config = make_config()
    run_tool(TOOL, config, '--images', 2, '--as-trained', '--no-spikingjelly')
    text = capsys.readouterr().out
    rows, everything = read(config.parent / 'work_dir/energy')
    assert text.count('RANDOM WEIGHTS, set so that every layer fires') == 2
    assert {row['weights'] for row in rows} == {everything['weights']} == {'RANDOM'}
    assert everything['spikingjelly'] == []
    assert 'backbone.stages.1.blocks.0.attention.query.conv' in {row['layer'] for row in rows}


def test_what_a_published_energy_implies_needs_no_images(
    make_config, run_tool, tmp_path, capsys, monkeypatch
):
    entry = PublishedEnergy('tiny', 'Tiny', 16, 1.0)
    monkeypatch.setattr(mmqkformer.analysis, 'PUBLISHED_ENERGIES', (entry,))
    config = make_config()
    shutil.rmtree(config.parent / 'data')
    run_tool(TOOL, config, '--implied')
    text = capsys.readouterr().out
    assert 'Tiny at 16' in text
    assert f'{256 * 4 * 27:,}' in text
    assert 'No reproduction' in text


def test_errors_are_one_line(trained, make_config, run_tool, tmp_path):
    config, work_dir = trained
    with pytest.raises(
        SystemExit, match=r'^error: .*tiny\.py: --implied: expected one of .*hst-10'
    ):
        run_tool(TOOL, config, '--implied')
    with pytest.raises(SystemExit, match=r'^error: .*none\.pth'):
        run_tool(TOOL, config, tmp_path / 'none.pth')
    other = make_config(
        ('embed_dims=[8, 16]', 'embed_dims=[8, 32]'), ('in_channels=16', 'in_channels=32')
    )
    with pytest.raises(SystemExit, match=r'^error: .*does not fit the model of the config'):
        run_tool(TOOL, other, work_dir / 'epoch_2.pth')
    (tmp_path / 'file').write_text('')
    with pytest.raises(SystemExit, match=r'^error: .*file'):
        run_tool(TOOL, config, '--out', tmp_path / 'file')
