"""The demonstration of the zoo, for one family and an epoch."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_family_is_trained_measured_and_drawn(run_tool, tmp_path, capsys):
    arguments = ('--families', 'spikformer', '--epochs', 1, '--width', 16, '--work-dir', tmp_path)
    run_tool('demo_zoo.py', *arguments, '--least', 0)
    (result,) = json.loads((tmp_path / 'zoo.json').read_text())
    assert (ROOT / 'configs/spikformer' / f'{result["config"]}.py').is_file()
    assert 0 <= result['accuracy'] <= 100
    assert 0 < result['firing_rate'] < 1
    assert result['accumulates'] > result['multiply_accumulates'] > 0
    assert result['milliseconds'] > 0
    assert (tmp_path / 'zoo.png').stat().st_size > 10_000
    assert 'spikformer' in capsys.readouterr().out


@pytest.mark.slow
def test_a_family_that_does_not_learn_is_an_error(run_tool, tmp_path):
    arguments = ('--families', 'spikformer', '--epochs', 1, '--width', 8, '--work-dir', tmp_path)
    with pytest.raises(SystemExit, match='below 100 %: spikformer'):
        run_tool('demo_zoo.py', *arguments, '--least', 100)


def test_a_folder_without_configs_is_named(run_tool, tmp_path):
    with pytest.raises(SystemExit, match='configs/nothing: expected configs of classifiers'):
        run_tool('demo_zoo.py', '--families', 'nothing', '--work-dir', tmp_path)
