"""The demonstration of the zoo, for one family and an epoch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2]


def demo(work_dir, least):
    """Trains a small network; by the tool's command, as it starts processes of its own."""
    arguments = ['--families', 'spikformer', '--epochs', '1', '--width', '16', '--least', least]
    command = [sys.executable, str(ROOT / 'tools/demo_zoo.py'), '--work-dir', str(work_dir)]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=work_dir)


@pytest.mark.slow
def test_a_family_is_trained_measured_and_drawn(tmp_path):
    done = demo(tmp_path, '0')
    assert done.returncode == 0, done.stderr
    (result,) = json.loads((tmp_path / 'zoo.json').read_text())
    assert (ROOT / 'configs/spikformer' / f'{result["config"]}.py').is_file()
    assert 0 <= result['accuracy'] <= 100
    assert 0 < result['firing_rate'] < 1
    assert result['accumulates'] > result['multiply_accumulates'] > 0
    assert result['milliseconds'] > 0
    # What the tools for looking inside take
    config = Config.fromfile(tmp_path / 'spikformer' / 'spikformer.py')
    assert config.test_dataloader.dataset.type == 'Digits'
    assert (tmp_path / 'zoo.png').stat().st_size > 10_000
    assert f'[1/1] spikformer: {result["accuracy"]:.1f} %' in done.stdout

    # The finished run stands; only what is asked of it has changed
    done = demo(tmp_path, '99')
    assert done.returncode == 1
    assert done.stderr.strip().endswith('below 99 %: spikformer')


def test_an_unknown_family_is_named_with_those_that_there_are(run_tool, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_tool('demo_zoo.py', '--families', 'nothing', '--work-dir', tmp_path)
    assert "argument --families: invalid choice: 'nothing'" in (error := capsys.readouterr().err)
    assert 'spikformer' in error
