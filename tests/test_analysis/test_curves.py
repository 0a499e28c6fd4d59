"""Curves of logs, of tables and of the release."""

import json
import math

import pytest

from mmqkformer.analysis.curves.reading import read_csv, read_curves, read_work_dir, released_curves


def write_log(folder, *entries, tail='', name='scalars.json'):
    path = folder / 'vis_data' / name
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(entry) + '\n' for entry in entries) + tail)


def trained(epoch, loss, lr=0.01):
    return {'train_epoch/loss': loss, 'train_epoch/lr': lr, 'train_epoch/time': 1.0, 'step': epoch}


def validated(epoch, top1):
    return {'val/accuracy/top1': top1, 'val/accuracy_ema/top1': top1 + 1, 'step': epoch}


def test_released_curves_are_the_releases():
    assert released_curves() == ['cifar10', 'hst-10-384_in1k']
    imagenet, cifar = map(read_curves, released_curves()[::-1])
    assert imagenet.epochs == list(range(1, 201))
    assert cifar.epochs == list(range(1, 411))
    assert set(imagenet.values) == {'lr', 'train_loss', 'top1', 'top5'}
    assert set(cifar.values) == {'lr', 'train_loss'}
    # The first rows, which the release calls epoch 0
    assert [imagenet.values[name][1] for name in ('lr', 'top1', 'top5')] == [0.00024, 3.828, 12.688]
    assert imagenet.lr_unit[1] == pytest.approx(1e-6)
    assert cifar.values['lr'][2] == 5.95e-5
    assert cifar.lr_unit[2] == pytest.approx(1e-8)
    assert any('leak' in note for note in imagenet.notes)


@pytest.mark.parametrize('first', [0, 1])
def test_a_table_counts_from_0_or_from_1(tmp_path, first):
    table = tmp_path / 'mine.csv'
    rows = [f'{first},0.100,50.5,x', f'{first + 1},0.05,,x']
    table.write_text('\n'.join(['# from a friend', 'epoch,lr,top1,colour', *rows]))
    curves = read_curves(table)
    assert curves.values == {'lr': {1: 0.1, 2: 0.05}, 'top1': {1: 50.5}}
    assert curves.lr_unit == {1: pytest.approx(1e-3), 2: pytest.approx(1e-2)}
    assert curves.notes == ('from a friend',)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'columns None: expected epoch and some of lr'),
        ('epoch,acc1\n0,1\n', r"columns \['epoch', 'acc1'\]: expected epoch and some"),
        ('lr,top1\n0,1\n', 'expected epoch and some'),
        ('epoch,top1\n0,high\n', "top1='high' in the row of epoch 0: expected a number"),
        ('epoch,top1\none,1\n', "epoch='one' in the row of epoch one"),
        ('epoch,top1\n7,1\n', 'first epoch 7: expected rows that begin with epoch 0 or 1'),
        ('epoch,top1\n', 'first epoch None'),
    ],
)
def test_what_is_no_table_is_told(tmp_path, text, message):
    (tmp_path / 'bad.csv').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path / 'bad.csv')


def test_a_resumed_run_is_one_run(tmp_path):
    """The second part trains epoch 2 again; epoch 3 of the first is of a branch that was left."""
    write_log(
        tmp_path / '20260101_000000',
        *(trained(1, 3.0), validated(1, 10.0), trained(2, 2.0), validated(2, 20.0)),
        *(trained(3, 1.0), validated(3, 30.0)),
    )
    write_log(tmp_path / '20260102_000000', trained(2, 2.5, lr=0.00123456789), validated(2, 25.0))
    curves = read_work_dir(tmp_path)
    assert curves.values['train_loss'] == {1: 3.0, 2: 2.5}
    assert curves.values['top1'] == {1: 10.0, 2: 25.0}
    assert curves.values['top1_ema'] == {1: 11.0, 2: 26.0}
    # Seven digits: 1.234567e-03
    assert curves.lr_unit[2] == pytest.approx(1e-9)
    one = read_work_dir(tmp_path / '20260101_000000')
    assert one.values['train_loss'] == {1: 3.0, 2: 2.0, 3: 1.0}


def test_a_validation_that_was_made_up_for_joins_its_epoch(tmp_path):
    write_log(tmp_path / '1', trained(1, 3.0))
    write_log(tmp_path / '2', validated(1, 10.0), trained(2, 2.0), name='2.json')
    curves = read_work_dir(tmp_path)
    assert curves.values['train_loss'] == {1: 3.0, 2: 2.0}
    assert curves.values['top1'] == {1: 10.0}


def test_a_torn_last_line_is_what_a_killed_run_leaves(tmp_path):
    write_log(tmp_path / '1', trained(1, math.nan), tail='{"train_epoch/lo')
    assert math.isnan(read_work_dir(tmp_path).values['train_loss'][1])
    write_log(tmp_path / '2', trained(1, 3.0), tail='{"train_ep\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r'2/vis_data/scalars\.json, line 2: .*train_ep.*: expect'):
        read_work_dir(tmp_path)


def test_what_is_no_run_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere: no such folder'):
        read_work_dir(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match=r'no log, expected TIME/vis_data/scalars\.json'):
        read_work_dir(tmp_path)
    write_log(tmp_path / '1', {'loss': 1.0, 'step': 19})
    with pytest.raises(ValueError, match=r'no epoch was logged, expected tags .*default_runtime'):
        read_work_dir(tmp_path)
    write_log(tmp_path / '2', {'train_epoch/loss': 'low', 'step': 1})
    with pytest.raises(ValueError, match=r"line 1: step 1, \{'train_loss': 'low'\}: expected num"):
        read_work_dir(tmp_path)
    write_log(tmp_path / '3', {'train_epoch/loss': 1.0})
    with pytest.raises(ValueError, match='line 1: step None'):
        read_work_dir(tmp_path / '3')
    with pytest.raises(ValueError, match=r"reference='resnet': .* one of cifar10, hst-10-384_in1k"):
        read_curves('resnet')
