"""Numbers of command lines are checked where they are read, by the name of their argument."""

import argparse
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Others are imported by these
TOOLS = sorted(
    path for path in (ROOT / 'tools').rglob('*.py') if 'ArgumentParser(' in path.read_text()
)
# Imports nothing of this package, which needs the mmcv that it installs
ALONE = 'install_mmcv_ops.py'
NONSENSE = ['nan', 'inf', '-inf', '1e999', 'x', '', 'False', '[]']


class Captured(Exception):
    """Carries the parser of a tool out of it."""


def parser_of(path, monkeypatch):
    def capture(parser, *args, **kwargs):
        raise Captured(parser)

    with monkeypatch.context() as patch:
        patch.syspath_prepend(path.parent)
        patch.setattr(argparse.ArgumentParser, 'parse_args', capture)
        with pytest.raises(Captured) as captured:
            runpy.run_path(str(path), run_name='__main__')
    return captured.value.args[0]


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.stem)
def test_no_argument_takes_nonsense_for_a_number(path, monkeypatch):
    for action in parser_of(path, monkeypatch)._actions:
        if action.type in (None, str, Path) or path.name == ALONE:
            continue
        for text in NONSENSE:
            with pytest.raises(argparse.ArgumentTypeError, match=r'expected an? (int|fin)'):
                action.type(text)
        if 'integer' in _complaint(action):
            with pytest.raises(argparse.ArgumentTypeError, match='expected an integer of at'):
                action.type('-1')
            with pytest.raises(argparse.ArgumentTypeError, match='expected an integer of at'):
                action.type('1.5')


def _complaint(action):
    try:
        action.type('x')
    except argparse.ArgumentTypeError as error:
        return str(error)


@pytest.mark.parametrize(
    ('tool', 'arguments', 'message'),
    [
        ('test.py', ['c', 'k', '--interval', '0'], '--interval: 0: expected an integer of at'),
        ('test.py', ['c', 'k', '--wait-time', 'nan'], '--wait-time: nan: expected a finite num'),
        ('train.py', ['c', '--data-seed', '-1'], '--data-seed: -1: expected an integer of at'),
        ('visualization/vis_scheduler.py', ['c', '--dataset-size', 'x'], "--dataset-size: 'x': "),
        ('misc/install_mmcv_ops.py', ['--jobs', '0'], '--jobs 0: expected at least 1'),
    ],
)
def test_a_command_names_argument_and_value(tool, arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    with pytest.raises(SystemExit, match='2'):
        runpy.run_path(str(ROOT / 'tools' / tool))['parse_args']()
    assert message in capsys.readouterr().err
