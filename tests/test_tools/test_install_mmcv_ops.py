"""Installing mmcv with operators, without compiling: the cache, the progress, the errors."""

import importlib.util
import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'misc' / 'install_mmcv_ops.py'


@pytest.fixture
def tool(monkeypatch):
    spec = importlib.util.spec_from_file_location('install_mmcv_ops', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, 'argv', [str(TOOL)])
    return module


@pytest.fixture
def commands(tool, monkeypatch, tmp_path):
    """What the tool would run, instead of running it; operators work once a wheel is installed."""
    run = []
    monkeypatch.setenv('MMCV_WHEELS', str(tmp_path))
    monkeypatch.setattr(tool, 'pip', lambda *args: run.append(args))
    monkeypatch.setattr(tool, 'operators_work', lambda path=None: any('.whl' in a[-1] for a in run))
    return run


def test_wheels_are_keyed_by_torch_python_and_cuda(tool, tmp_path, monkeypatch):
    monkeypatch.delenv('FORCE_CUDA', raising=False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    name = tool.wheel_folder(tmp_path).name
    assert torch.__version__ in name
    assert f'cp{sys.version_info.major}{sys.version_info.minor}' in name
    assert name.endswith('-cpu')
    monkeypatch.setenv('FORCE_CUDA', '1')
    assert tool.wheel_folder(tmp_path).name == name.replace('-cpu', f'-cuda{torch.version.cuda}')
    monkeypatch.setattr(torch, '__version__', '2.99.0')
    assert '2.99.0' in tool.wheel_folder(tmp_path).name


def test_operators_that_work_are_left_alone(tool, commands, monkeypatch, capsys):
    monkeypatch.setattr(tool, 'operators_work', lambda path=None: True)
    tool.main()
    assert commands == []
    assert 'has its operators already' in capsys.readouterr().out


def test_a_wheel_in_the_cache_is_installed_in_place_of_mmcv_lite(tool, commands, tmp_path):
    folder = tool.wheel_folder(tmp_path)
    folder.mkdir()
    wheel = folder / 'mmcv-2.1.0-cp311-cp311-linux_x86_64.whl'
    wheel.touch()
    tool.main()
    assert commands == [
        ('uninstall', '--yes', 'mmcv-lite', 'mmcv'),
        ('install', '--no-deps', str(wheel)),
    ]


def fake_build(tool, monkeypatch, folder, returncode):
    """``pip wheel`` that prints as ninja does and leaves a wheel if it succeeds."""
    output = 'cloning\n[1/3] c++ a.cpp\n[2/3] c++ b.cpp\nerror: here\n[3/3] link\n'

    class Process:
        def __init__(self, command, **kwargs):
            assert kwargs['env']['MMCV_WITH_OPS'] == '1'
            assert '--no-cache-dir' in command
            self.stdout, self.returncode = io.StringIO(output), returncode
            target = Path(command[command.index('--wheel-dir') + 1])
            assert target.parent == folder
            if returncode == 0:
                (target / 'mmcv-2.1.0-cp311-cp311-linux_x86_64.whl').write_bytes(b'built')

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

    monkeypatch.setattr(subprocess, 'Popen', Process)


def test_a_build_enters_the_cache_when_its_operators_run(
    tool, commands, tmp_path, monkeypatch, capsys
):
    folder = tool.wheel_folder(tmp_path)
    fake_build(tool, monkeypatch, folder, 0)
    tool.main()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ['build.log', 'mmcv-2.1.0-cp311-cp311-linux_x86_64.whl']
    assert '[2/3] c++ b.cpp' in (folder / 'build.log').read_text()
    captured = capsys.readouterr()
    assert 'some 12 to 20 minutes' in captured.out
    assert '3/3' in captured.err


def test_a_build_that_fails_shows_the_end_of_its_log(tool, commands, tmp_path, monkeypatch):
    folder = tool.wheel_folder(tmp_path)
    fake_build(tool, monkeypatch, folder, 1)
    with pytest.raises(SystemExit, match=r'(?s)error: here.*could not be built.*build\.log'):
        tool.main()
    assert [path.name for path in folder.iterdir()] == ['build.log']


def test_a_wheel_whose_operators_do_not_run_stays_out_of_the_cache(
    tool, commands, tmp_path, monkeypatch
):
    folder = tool.wheel_folder(tmp_path)
    fake_build(tool, monkeypatch, folder, 0)
    monkeypatch.setattr(tool, 'operators_work', lambda path=None: False)
    with pytest.raises(SystemExit, match='its operators do not run'):
        tool.main()
    assert [path.name for path in folder.iterdir()] == ['build.log']
    assert not any(args[0] == 'uninstall' for args in commands)


def test_a_missing_compiler_is_named(tool, commands, monkeypatch):
    monkeypatch.setattr(tool.shutil, 'which', lambda name: None)
    monkeypatch.delenv('CXX', raising=False)
    with pytest.raises(SystemExit, match=r'no C\+\+ compiler'):
        tool.main()


def test_the_check_itself_runs_in_a_process_of_its_own(tool, tmp_path):
    """An mmcv without operators is told from one with them."""
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text("__version__ = '2.1.0'\n")
    assert not tool.operators_work(tmp_path)
    nms = 'import torch\ndef nms(boxes, scores, iou):\n    return boxes, torch.tensor([0, 2])\n'
    (tmp_path / 'mmcv' / 'ops.py').write_text(nms)
    assert tool.operators_work(tmp_path)
