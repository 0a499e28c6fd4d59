"""Files for elsewhere, and steps that need not run, from the command line."""

import json
import re

import pytest

CONFIG = 'configs/qkformer/hst-3-128_1xb64_digits.py'
WEIGHTS = 'weights/qkformer_hst-3-128_1xb64_digits.pth'


@pytest.fixture
def in_root(request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)


@pytest.mark.parametrize(
    ('tool', 'arguments', 'message'),
    [
        ('test.py', ['--early-exit', 'sure=1'], "--early-exit rule='sure': expected 'confidence'"),
        ('test.py', ['--early-exit', 'margin'], "--early-exit 'margin': expected RULE=THRESHOLD"),
        ('test.py', ['--early-exit', 'margin=1', '--tta'], 'expected without --tta and --int8'),
        ('analysis_tools/early_exit.py', ['--thresholds', 2], '2.0: expected a finite number'),
        ('export.py', ['--out', 'model.pt2'], 'expected a name that ends in .onnx'),
        ('export.py', ['--out', 'm.onnx', '--sizes', '8x8x8'], "'8x8x8': expected an integer"),
        ('export.py', ['--out', 'm.onnx', '--random-inputs'], 'expected --sizes beside it'),
    ],
)
def test_arguments_that_make_no_sense_are_named(tool, arguments, message, run_tool, capsys):
    with pytest.raises(SystemExit, match='2'):
        run_tool(tool, 'config.py', 'checkpoint.pth', *arguments)
    assert message in capsys.readouterr().err


def test_the_sweep_and_the_test_tell_the_same(run_tool, in_root, tmp_path, capsys):
    given = (CONFIG, WEIGHTS)
    arguments = ('--images', 360, '--thresholds', 0.6, '--repeats', 1, '--out', tmp_path)
    run_tool('analysis_tools/early_exit.py', *given, *arguments)
    result = json.loads((tmp_path / 'early_exit.json').read_text())
    assert result['trained']
    (point,) = result['points']
    assert (result['samples'], sum(point['exits'])) == (360, 360)
    assert (tmp_path / 'early_exit.png').stat().st_size > 10_000
    capsys.readouterr()
    arguments = ('--early-exit', 'confidence=0.6', '--work-dir', tmp_path)
    run_tool('test.py', *given, *arguments)
    log = ''.join(capsys.readouterr())
    exits = ' '.join(map(str, point['exits']))
    assert f'{point["mean_steps"]:.2f} of 4 steps a sample; {exits} samples stopped' in log
    assert f'accuracy/top1: {point["accuracy"]:.4f}' in log
    # Better than its first step, with fewer than all
    assert result['accuracies'][0] < point['accuracy'] > 95
    assert point['mean_steps'] < 3


def test_random_weights_are_told(run_tool, in_root, tmp_path, capsys):
    arguments = ('--images', 8, '--thresholds', 0.5, '--repeats', 1, '--out', tmp_path)
    run_tool('analysis_tools/early_exit.py', CONFIG, *arguments)
    assert 'RANDOM WEIGHTS' in capsys.readouterr().out
    note, header, line = (tmp_path / 'early_exit.csv').read_text().splitlines()
    assert note.startswith('# RANDOM WEIGHTS')
    assert header.startswith('rule,threshold,accuracy,mean_steps,operations,milliseconds,exits_1,')
    assert len(line.split(',')) == len(header.split(','))


def test_what_cannot_be_written_is_one_line(run_tool, in_root, tmp_path):
    (tmp_path / 'file').touch()
    arguments = ('--random-inputs', '--sizes', 8, '--out')
    with pytest.raises(SystemExit, match=r'^error: .*file'):
        run_tool('export.py', CONFIG, WEIGHTS, *arguments, tmp_path / 'file' / 'm.onnx')
    detector = 'retinanet_hst-3-128_fpn_digits'
    given = (f'configs/detection/{detector}.py', f'weights/{detector}.pth')
    with pytest.raises(SystemExit, match=r'^error: RetinaNet: expected an image classifier'):
        run_tool('export.py', *given, *arguments, tmp_path / 'm.onnx')
    assert [path.name for path in tmp_path.iterdir()] == ['file']


@pytest.mark.slow
def test_digits_in_onnx_runtime(run_tool, in_root, tmp_path, capsys):
    onnxruntime = pytest.importorskip('onnxruntime')
    path = tmp_path / 'digits.onnx'
    run_tool('export.py', CONFIG, WEIGHTS, '--out', path, '--with-preprocessing')
    printed = capsys.readouterr().out
    assert len(re.findall(r'top-1 is the same for 8 of 8', printed)) == 2
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    assert about['classes'] == list('0123456789')
    assert about['time_steps'] == 4
    assert about['preprocessing_in_graph'] is True
    assert about['mean'] == pytest.approx([77.9] * 3)
    assert session.get_inputs()[0].type == 'tensor(uint8)'
