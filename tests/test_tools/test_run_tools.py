"""The tools that look at runs: against a reference, and over batches."""

import csv
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/qkformer/hst-3-128_1xb64_digits.py'
WEIGHTS = ROOT / 'weights/qkformer_hst-3-128_1xb64_digits.pth'
COMPARE = 'analysis_tools/compare_run.py'
BATCHES = 'analysis_tools/batch_independence.py'


@pytest.fixture(scope='module')
def resumed(make_config, run_tool):
    """A run of an epoch, resumed for a second."""
    config = make_config(
        (
            "logger=dict(type='LoggerHook', interval=1),",
            "logger=dict(type='LoggerHook', interval=1),\n    epoch_log=dict(type='EpochLogHook'),",
        ),
        ('custom_hooks =', 'log_processor = dict(log_with_hierarchy=True)\ncustom_hooks ='),
    )
    run_tool('train.py', config, '--cfg-options', 'train_cfg.max_epochs=1')
    run_tool('train.py', config, '--resume')
    return config.parent / 'work_dir'


def read_text_log(work_dir):
    """Losses and rates of the epochs as mmengine wrote them for people, with four digits."""
    text = ''.join(log.read_text() for log in sorted(work_dir.glob('*/*.log')))
    means = re.findall(r'Epoch\(train\) \[(\d)\] means:.* loss: (\S+).* lr: (\S+)', text)
    return {int(epoch): (float(loss), float(lr)) for epoch, loss, lr in means}


def test_a_resumed_run_is_compared_with_a_table(resumed, run_tool, tmp_path, capsys):
    logged = read_text_log(resumed)
    assert sorted(logged) == [1, 2]
    table = tmp_path / 'friend.csv'
    rows = [f'{e},{lr:.3e},{loss + (e == 2)}' for e, (loss, lr) in logged.items()]
    table.write_text('\n'.join(['epoch,lr,train_loss', *rows]))
    capsys.readouterr()
    run_tool(COMPARE, resumed, '--reference', table, '--patience', 1, '--lag', 0, '--spread', 0)
    printed = capsys.readouterr().out
    assert f'run: {resumed}, epochs 1 to 2' in printed
    assert re.search(r'^lr +on track', printed, re.M)
    assert re.search(r'^train_loss +departs at epoch 2: .*, -1, tolerance', printed, re.M)
    assert re.search(r'^top1 +not in the reference', printed, re.M)
    folder = resumed / 'comparison'
    assert (folder / 'comparison.png').stat().st_size > 10_000
    with open(folder / 'comparison.csv', newline='') as file:
        losses = [row for row in csv.DictReader(file) if row['quantity'] == 'train_loss']
    assert [float(row['run']) for row in losses] == pytest.approx(
        [loss for loss, _ in logged.values()], rel=1e-3
    )
    written = json.loads((folder / 'comparison.json').read_text())
    assert written['compared'][1]['departure']['epoch'] == 2
    assert not list(folder.glob('.*'))


def test_a_run_is_compared_with_released_curves_and_with_itself(
    resumed, run_tool, tmp_path, capsys
):
    run_tool(COMPARE, resumed, '--reference', 'hst-10-384_in1k', '--out', tmp_path)
    printed = capsys.readouterr().out
    assert 'reference: hst-10-384_in1k, released, epochs 1 to 200' in printed
    assert 'leak between the images of a batch' in printed
    assert re.search(r'^lr +departs at epoch 1', printed, re.M)
    run_tool(COMPARE, resumed, '--reference', resumed, '--out', tmp_path)
    printed = capsys.readouterr().out
    assert 'departs' not in printed
    assert len(re.findall(r'on track; most \+0 at', printed)) >= 3


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere', '--reference', 'cifar10'], 'error: nowhere: no such folder'),
        (['.', '--reference', 'cifar10'], r'error: \.: no log, expected TIME'),
        (['RUN', '--reference', 'cifar11'], "error: reference='cifar11': .*one of cifar10, hst"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    resumed, run_tool, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        run_tool(COMPARE, *(resumed if word == 'RUN' else word for word in arguments))


def test_batches_and_orders_are_a_table_and_a_picture(run_tool, tmp_path, capsys):
    few = ['train_dataloader.dataset.indices=64']
    run_tool(
        BATCHES, CONFIG, WEIGHTS, '--images', 10, '--batch-sizes', 5, 64, '--out', tmp_path,
        '--recalibrate', 64, '--fine-tune', 1, '--cfg-options', *few,
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert 'hst-3-128_1xb64_digits, 10 images, float32; shuffled with seed 0' in printed
    assert (tmp_path / 'batches.png').stat().st_size > 10_000
    written = json.loads((tmp_path / 'batches.json').read_text())
    rows = written['rows']
    assert len(rows) == 2 * (1 + 3 * 2)
    assert {row['batch_size'] for row in rows} == {1, 5, 10}
    # Weights that were trained per sample: most are right, whatever lies beside them
    assert all(row['accuracy'] >= 90 for row in rows if row['behaviour'] == 'per sample')
    assert all(row['largest'] < 1e-4 for row in rows if row['behaviour'] == 'per sample')
    assert any(row['largest'] > 1e-2 for row in rows if row['behaviour'] == 'leaky')
    steps = written['recovery']['steps']
    assert list(steps) == ['as it is', 'statistics re-estimated', 'fine-tuned']
    assert all(step in printed for step in steps)


def test_what_cannot_be_tested_over_batches_is_one_line(run_tool, capsys):
    with pytest.raises(SystemExit, match=r'error: checkpoint .* does not fit the model'):
        run_tool(BATCHES, CONFIG, WEIGHTS, '--cfg-options', 'model.head.num_classes=7')
    with pytest.raises(SystemExit, match=r'error: .*nothing\.pth'):
        run_tool(BATCHES, CONFIG, 'nothing.pth')
    with pytest.raises(SystemExit, match='2'):
        run_tool(BATCHES, CONFIG, WEIGHTS, '--fine-tune', 1)
    assert '--fine-tune: expected with --recalibrate' in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r'error: .*README\.md'):
        run_tool(BATCHES, CONFIG, WEIGHTS, '--out', ROOT / 'README.md')
    none = ['train_dataloader=None', 'train_cfg=None', 'optim_wrapper=None']
    with pytest.raises(SystemExit, match='train_dataloader: expected one, to recalibrate on'):
        run_tool(BATCHES, CONFIG, WEIGHTS, '--recalibrate', '--cfg-options', *none)
