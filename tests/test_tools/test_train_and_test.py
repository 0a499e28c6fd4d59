"""tools/train.py and tools/test.py, on the CPU."""

import json
import re
import time
from argparse import Namespace
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import load

from mmqkformer.deploy import Int8Layer

ROOT = Path(__file__).resolve().parents[2]


def last_scalars(work_dir):
    """The last line of each kind in the newest log of a run."""
    path = max(work_dir.rglob('scalars.json'))
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_training_writes_checkpoints_and_validates(trained):
    _, work_dir = trained
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_2.pth')
    assert any('accuracy/top1' in line for line in last_scalars(work_dir))


def test_testing_prints_and_writes_metrics(trained, run_tool, tmp_path):
    config, work_dir = trained
    out = tmp_path / 'new' / 'metrics.json'
    run_tool('test.py', config, work_dir / 'epoch_2.pth', '--out', out, '--out-item', 'metrics')
    assert 0 <= json.loads(out.read_text())['accuracy/top1'] <= 100
    assert [path.name for path in out.parent.iterdir()] == ['metrics.json']


def test_predictions_are_written_and_drawn(trained, run_tool, tmp_path):
    config, work_dir = trained
    out = tmp_path / 'predictions.pkl'
    drawn = tmp_path / 'drawn'
    run_tool('test.py', config, work_dir / 'epoch_2.pth', '--out', out, '--show-dir', drawn)
    assert out.stat().st_size > 0
    assert len(list(drawn.rglob('*.png'))) == 8


def test_a_fused_model_is_compared_and_tested(trained, run_tool, tmp_path):
    config, work_dir = trained
    results = []
    for name, option in (('plain', ()), ('fused', ('--fuse',))):
        out = tmp_path / f'{name}.json'
        arguments = ('--out', out, '--out-item', 'metrics', *option)
        run_tool('test.py', config, work_dir / 'epoch_2.pth', *arguments)
        results.append(json.loads(out.read_text())['accuracy/top1'])
    assert results[0] == results[1]
    log = max(work_dir.rglob('*.log'), key=lambda path: path.stat().st_mtime).read_text()
    (counts,) = re.findall('fused: on one image ([0-9,]+) of ([0-9,]+) outputs', log)
    flips, outputs = (int(count.replace(',', '')) for count in counts)
    assert flips == 0 < outputs


def test_a_fused_model_is_compared_in_mixed_precision(trained, run_tool, tmp_path):
    config, work_dir = trained
    differences = []
    for name, option in (('float32', ()), ('bfloat16', ('--amp',))):
        arguments = ('--fuse', *option, '--work-dir', tmp_path / name)
        run_tool('test.py', config, work_dir / 'epoch_2.pth', *arguments)
        (log,) = (tmp_path / name).rglob('*.log')
        found = re.findall('comes out by at most ([0-9.e+-]+)', log.read_text())
        differences.append(float(found[0]))
    # Logits of 8 bits, not of 24
    assert differences[1] > 10 * differences[0]


QUANTISED = (
    (
        '        time_steps=2,\n',
        "        time_steps=2, neuron=dict(type='MultiSpikeNeuron'),\n"
        "        quant=dict(type='LSQ', bits=4),\n",
    ),
    ('in_channels=16)', "in_channels=16, quant=dict(type='LSQ', bits=4))"),
)


@pytest.fixture(scope='module')
def quantised(make_config, run_tool):
    """A config of quantised weights and its work directory after an epoch."""
    config = make_config(*QUANTISED)
    run_tool('train.py', config, '--no-validate', '--cfg-options', 'train_cfg.max_epochs=1')
    return config, config.parent / 'work_dir'


def test_a_model_in_int8_is_compared_and_tested(quantised, run_tool, monkeypatch, tmp_path):
    config, work_dir = quantised
    calls, forward = Counter(), Int8Layer.forward

    def counted(layer, x):
        calls[layer] += 1
        return forward(layer, x)

    monkeypatch.setattr(Int8Layer, 'forward', counted)
    for name, option in (('plain', ()), ('int8', ('--int8',))):
        arguments = ('--out', tmp_path / f'{name}.pkl', '--work-dir', tmp_path / name, *option)
        run_tool('test.py', config, work_dir / 'epoch_1.pth', *arguments)
    plain, other = (
        torch.stack([sample['pred_score'] for sample in load(tmp_path / f'{name}.pkl')])
        for name in ('plain', 'int8')
    )
    torch.testing.assert_close(plain, other, rtol=0, atol=1e-3)
    # The comparison and two batches
    assert len(calls) > 5
    assert set(calls.values()) == {3}
    (log,) = (tmp_path / 'int8').rglob('*.log')
    text = log.read_text()
    (counts,) = re.findall('int8: on one image ([0-9,]+) of ([0-9,]+) outputs', text)
    flips, outputs = (int(count.replace(',', '')) for count in counts)
    assert flips < 0.01 * outputs
    assert 'int8: head.fc stays float32: takes what is not known to be whole numbers' in text


def test_a_model_without_quantised_layers_is_refused_in_int8(trained, run_tool):
    config, work_dir = trained
    with pytest.raises(SystemExit, match='--int8: the model has no quantised layer: expected'):
        run_tool('test.py', config, work_dir / 'epoch_2.pth', '--int8')


@pytest.mark.parametrize('option', ['--fuse', '--tta', '--amp'])
def test_int8_is_refused_beside_other_forms(option, run_tool, capsys):
    with pytest.raises(SystemExit):
        run_tool('test.py', 'any.py', 'any.pth', '--int8', option)
    assert '--int8: expected without --fuse, --tta and --amp' in capsys.readouterr().err


def test_int8_is_refused_beside_a_gpu_or_half_precision(trained, run_tool, monkeypatch, capsys):
    config, work_dir = trained
    half = ('--cfg-options', 'test_cfg.fp16=True')
    with pytest.raises(SystemExit, match='--int8: expected test_cfg without fp16=True'):
        run_tool('test.py', config, work_dir / 'epoch_2.pth', '--int8', *half)
    compiled = ('--cfg-options', 'compile=True')
    with pytest.raises(SystemExit, match='--int8: expected a config without compile'):
        run_tool('test.py', config, work_dir / 'epoch_2.pth', '--int8', *compiled)
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cuda')
    with pytest.raises(SystemExit):
        run_tool('test.py', 'any.py', 'any.pth', '--int8')
    assert '--int8: expected a machine without a GPU, got cuda' in capsys.readouterr().err


def test_mirrored_images_at_test_time(trained, run_tool, tmp_path):
    config, work_dir = trained
    out = tmp_path / 'metrics.json'
    arguments = ('--tta', '--amp', '--out', out, '--out-item', 'metrics')
    run_tool('test.py', config, work_dir / 'epoch_2.pth', *arguments)
    assert 'accuracy/top1' in json.loads(out.read_text())


def test_mixed_precision_on_the_cpu_is_bfloat16(make_config, run_tool):
    config = make_config()
    run_tool(
        'train.py', config, '--amp', '--no-validate', '--cfg-options', 'train_cfg.max_epochs=1'
    )
    work_dir = config.parent / 'work_dir'
    saved = Config.fromfile(work_dir / 'tiny.py')
    assert saved.optim_wrapper.type == 'CPUAmpOptimWrapper'
    assert saved.optim_wrapper.dtype == 'bfloat16'
    assert not any('accuracy/top1' in line for line in last_scalars(work_dir))


def test_resume_goes_on_from_the_last_checkpoint(make_config, run_tool):
    config = make_config()
    work_dir = config.parent / 'work_dir'
    run_tool('train.py', config, '--cfg-options', 'train_cfg.max_epochs=1')
    time.sleep(1.1)  # mmengine names the folder of a run's logs by the second
    run_tool('train.py', config, '--resume')
    epochs = [line['epoch'] for line in last_scalars(work_dir) if 'loss' in line]
    assert set(epochs) == {2}
    assert (work_dir / 'epoch_2.pth').is_file()


def test_resume_without_a_checkpoint_starts_anew(make_config, run_tool):
    config = make_config()
    run_tool('train.py', config, '--resume', '--cfg-options', 'train_cfg.max_epochs=1')
    assert (config.parent / 'work_dir' / 'epoch_1.pth').is_file()


def test_learning_rate_follows_the_effective_batch(make_config, run_tool):
    config = make_config()
    options = ('train_cfg.max_epochs=1', 'optim_wrapper.accumulative_counts=2')
    run_tool('train.py', config, '--auto-scale-lr', '--cfg-options', *options)
    rates = [line['lr'] for line in last_scalars(config.parent / 'work_dir') if 'lr' in line]
    assert rates[0] == pytest.approx(1e-3 * 4 * 2 / 64)


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
def test_foreign_checkpoint_is_refused_by_key(trained, run_tool, tmp_path, tool):
    config, work_dir = trained
    checkpoint = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    state_dict = checkpoint['state_dict']
    state_dict['head.other.weight'] = state_dict.pop('head.fc.weight')
    state_dict['head.fc.bias'] = torch.zeros(5)
    foreign = tmp_path / 'foreign.pth'
    torch.save(checkpoint, foreign)
    elsewhere = ('--work-dir', tmp_path / 'run')
    arguments = ('--resume', foreign) if tool == 'train.py' else (foreign,)
    with pytest.raises(ValueError, match='does not fit the model') as error:
        run_tool(tool, config, *arguments, *elsewhere)
    assert '1 missing: head.fc.weight' in str(error.value)
    assert '1 unexpected: head.other.weight' in str(error.value)
    assert 'head.fc.bias (5,) instead of (2,)' in str(error.value)


def test_missing_checkpoint_is_named(trained, run_tool, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.pth'):
        run_tool('test.py', trained[0], tmp_path / 'none.pth')


@pytest.mark.parametrize('content', [b'not a checkpoint', b''])
def test_unreadable_checkpoint_is_named(trained, run_tool, tmp_path, content):
    path = tmp_path / 'broken.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'broken\.pth.*expected plain tensors'):
        run_tool('test.py', trained[0], path)


def test_checkpoint_with_code_is_refused(trained, run_tool, tmp_path):
    path = tmp_path / 'pickled.pth'
    torch.save({'state_dict': {}, 'code': Namespace()}, path)
    with pytest.raises(ValueError, match=r'pickled\.pth.*expected plain tensors'):
        run_tool('test.py', trained[0], path)


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
def test_missing_data_root_is_named(make_config, trained, run_tool, tool):
    config = make_config(("/data'", "/elsewhere'"))
    arguments = (trained[1] / 'epoch_2.pth',) if tool == 'test.py' else ()
    loader = tool.removesuffix('.py')
    with pytest.raises(FileNotFoundError, match=rf'{loader}_dataloader\.dataset\.data_root='):
        run_tool(tool, config, *arguments)


@pytest.mark.parametrize('arguments', [('--out-item', 'metrics'), ('--out', 'scores.json')])
def test_output_arguments_that_make_no_sense(trained, run_tool, arguments, capsys):
    config, work_dir = trained
    with pytest.raises(SystemExit):
        run_tool('test.py', config, work_dir / 'epoch_2.pth', *arguments)
    assert '--out' in capsys.readouterr().err.splitlines()[-1]


def test_first_weights_of_another_width_are_refused(make_config, trained, run_tool):
    """The names are the same, and the classifier's bias fits; the backbone refuses."""
    wide = make_config(
        ('embed_dims=[8, 16]', 'embed_dims=[16, 32]'),
        ('channels=[4, 8]', 'channels=[8, 16]'),
        ('in_channels=16', 'in_channels=32'),
    )
    narrow = trained[1] / 'epoch_2.pth'
    with pytest.raises(RuntimeError, match='does not fit the QKFormer backbone'):
        run_tool('train.py', wide, '--cfg-options', f'load_from={narrow}')


def test_folded_norms_of_a_config_that_averages_weights(run_tool, tmp_path, capsys):
    given = ('qkformer_hst-3-128_1xb64_digits.pth', 'hst-3-128_1xb64_digits.py')
    weights, config = ROOT / 'weights' / given[0], ROOT / 'configs' / 'qkformer' / given[1]
    run_tool('test.py', config, weights, '--fuse', '--work-dir', tmp_path)
    log = ''.join(capsys.readouterr())
    assert 'fused: on one image' in log
    assert 'accuracy/top1: 98.0556' in log
