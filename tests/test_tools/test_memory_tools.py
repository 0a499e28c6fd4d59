"""What a training step keeps: the table of images that fit, and the benchmark."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmqkformer.analysis import training_memory

ROOT = Path(__file__).resolve().parents[2]
WAYS = ['none', 'packed', 'recompute', 'with_cp', 'with_cp, packed']


@pytest.mark.slow
def test_the_most_images_that_fit(make_config, run_tool, capsys):
    config = make_config()
    arguments = ('--size', 32, '--time-steps', 1, 4, '--fit', 1.5, '--margin', 0.5)
    run_tool('misc/compare_memory.py', config, *arguments)
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header.strip(' |').split(' | ')[3:] == WAYS
    assert len(rows) == 2
    cells = [row.strip(' |').split(' | ') for row in rows]
    assert [row[1:3] for row in cells] == [['1', '32 x 32'], ['4', '32 x 32']]
    most = [[int(re.match(r'\d+', cell)[0]) for cell in row[3:]] for row in cells]
    plain, packed, recompute, *_ = most[1]
    assert plain < packed < recompute
    assert plain < most[0][0]
    # It is what the count says of so many images
    cfg = Config.fromfile(config)
    cfg.model.backbone.update(time_steps=4, memory='packed')
    for images, fits in ((packed, True), (round(1.02 * packed), False)):
        cfg.train_dataloader.batch_size = images
        assert (training_memory(cfg, (32, 32), gpus=8).total <= 2**30) is fits


def test_a_margin_of_all_is_refused(make_config, run_tool, capsys):
    with pytest.raises(SystemExit):
        run_tool('misc/compare_memory.py', make_config(), '--fit', 2, '--margin', 2)
    assert '--margin 2: expected at least 0 and less than --fit' in capsys.readouterr().err


@pytest.mark.slow
def test_the_benchmark_counts_each_way(tmp_path):
    out = tmp_path / 'result.json'
    tool = ROOT / 'tools' / 'benchmark' / 'training_memory.py'
    options = ('--arch', 'hst-2-256', '--batch', '8', '--size', '64', '--rounds', '1')
    command = [sys.executable, tool, *options, '--json', out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'all bytes' in done.stdout
    result = json.loads(out.read_text())
    assert result['versions'].keys() == {
        'torch',
        'mmengine',
        'mmcv',
        'spikingjelly',
        'python',
    }
    found = result['results']
    assert list(found) == ['None', 'packed', 'recompute', 'spikingjelly']
    facts = {way: one['facts'] for way, one in found.items()}
    kept = {way: sum(one['bytes_per_neuron'].values()) for way, one in facts.items()}
    assert kept['recompute'] < kept['packed'] < kept['None'] < kept['spikingjelly']
    assert facts['packed']['counted_peak'] < facts['None']['counted_peak']
    assert all(len(one['seconds']) == 1 for one in found.values())


@pytest.mark.slow
def test_the_table_of_the_documentation(run_tool, capsys):
    config = ROOT / 'configs' / 'qkformer' / 'hst-10-384_8xb64_in1k.py'
    run_tool('misc/compare_memory.py', config, '--size', 224, '--time-steps', 4)
    row = capsys.readouterr().out.splitlines()[-1].strip()
    assert row in (ROOT / 'docs' / 'v100.md').read_text().splitlines()
