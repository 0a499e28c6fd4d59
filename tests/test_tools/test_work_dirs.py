"""A work directory belongs to one run: nothing of another is overwritten, and nothing removed."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmqkformer.engine.work_dir import WorkDirInUseError, locked, newest_checkpoint

ROOT = Path(__file__).resolve().parents[2]
# A process that holds a lock until it is killed; it has a child, as a data loader has workers
HOLD = """
import os, sys, time
from mmqkformer.engine.work_dir import locked
with locked(sys.argv[1]):
    if os.fork() == 0:
        time.sleep(60)
    print('held', flush=True)
    time.sleep(60)
"""


def names(folder):
    return sorted(path.name for path in Path(folder).glob('*.pth'))


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob('*.pth')}


@pytest.fixture
def run(make_config, run_tool):
    """A run of two epochs that keeps one checkpoint and the best; its config and folder."""
    hook = "type='AtomicCheckpointHook', interval=1"
    config = make_config((hook, f"{hook}, max_keep_ckpts=1, save_best='accuracy/top1'"))
    run_tool('train.py', config)
    return config, config.parent / 'work_dir'


def test_a_run_removes_only_its_own_files(run, run_tool, tmp_path):
    config, theirs = run
    before = contents(theirs)
    assert len(before) == 2
    mine = tmp_path / 'mine'
    options = ('--cfg-options', 'train_cfg.max_epochs=5')
    run_tool('train.py', config, '--resume', theirs / 'epoch_2.pth', '--work-dir', mine, *options)
    assert contents(theirs) == before
    assert 'epoch_5.pth' in names(mine)
    assert 'epoch_4.pth' not in names(mine)


def test_a_forged_name_removes_nothing(run, run_tool, tmp_path):
    config, work_dir = run
    treasure, poem = tmp_path / 'treasure.pth', work_dir / 'poem.txt'
    other = work_dir / 'subfolder' / 'epoch_9.pth'
    other.parent.mkdir()
    for path in (treasure, poem, other):
        path.write_text('dear')
    checkpoint = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    info = checkpoint['message_hub']['runtime_info']
    for number, path in enumerate((treasure, poem, '../' * 20 + str(treasure), other)):
        # Every score is better than this one
        info.update(best_ckpt=str(path), best_score=-1.0, interim_ckpt=str(path))
        info.update(keep_ckpt_ids=['/../subfolder/epoch_9', '/../../treasure', 1, 2])
        checkpoint['meta'].update(epoch=1, iter=4)
        torch.save(checkpoint, work_dir / 'epoch_2.pth')
        run_tool(
            'train.py', config, '--resume', '--cfg-options', f'train_cfg.max_epochs={number + 3}'
        )
        assert treasure.read_text() == poem.read_text() == other.read_text() == 'dear'
        (work_dir / 'last_checkpoint').write_text('epoch_2.pth')


def test_the_best_of_a_moved_folder_is_replaced_where_it_is(run, run_tool):
    config, work_dir = run
    (best,) = [name for name in names(work_dir) if name.startswith('best')]
    checkpoint = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    checkpoint['message_hub']['runtime_info'].update(best_score=-1.0, validated_epoch=2)
    moved = work_dir.with_name('moved')
    shutil.copytree(work_dir, moved)
    torch.save(checkpoint, moved / 'epoch_2.pth')
    run_tool(
        'train.py',
        config,
        '--work-dir',
        moved,
        '--resume',
        '--cfg-options',
        'train_cfg.max_epochs=3',
    )
    assert names(moved) == ['best_accuracy_top1_epoch_3.pth', 'epoch_3.pth']
    assert names(work_dir) == sorted([best, 'epoch_2.pth'])


@pytest.mark.parametrize('pointer', [None, '', 'epoch_7.pth', '/moved/away/epoch_3.pth'])
def test_the_newest_complete_checkpoint_is_found(run, run_tool, pointer):
    config, work_dir = run
    if pointer is None:
        (work_dir / 'last_checkpoint').unlink()
    else:
        (work_dir / 'last_checkpoint').write_text(pointer)
    (work_dir / 'epoch_3.pth').write_bytes((work_dir / 'epoch_2.pth').read_bytes()[:5000])
    assert newest_checkpoint(work_dir) == str(work_dir / 'epoch_2.pth')
    before = len((work_dir / 'epoch_2.pth').read_bytes())
    run_tool('train.py', config, '--resume', '--cfg-options', 'train_cfg.max_epochs=3')
    checkpoint = torch.load(work_dir / 'epoch_3.pth', weights_only=True)
    assert (checkpoint['meta']['epoch'], before > 5000) == (3, True)


def test_the_pointer_is_followed_where_it_can_be(run):
    work_dir = run[1]
    checkpoint = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    checkpoint['meta']['iter'] = 2
    torch.save(checkpoint, work_dir / 'epoch_1.pth')
    (work_dir / 'last_checkpoint').write_text('/its/former/place/epoch_1.pth\n')
    assert newest_checkpoint(work_dir) == str(work_dir / 'epoch_1.pth')


def test_incomplete_checkpoints_alone_are_no_beginning(run, run_tool):
    config, work_dir = run
    for path in work_dir.glob('*.pth'):
        path.write_bytes(path.read_bytes()[:5000])
    before = contents(work_dir)
    with pytest.raises(ValueError, match=r'none of its checkpoints is complete: epoch_2\.pth'):
        run_tool('train.py', config, '--resume')
    assert contents(work_dir) == before


def test_a_new_run_does_not_overwrite_another(run, run_tool, tmp_path):
    config, work_dir = run
    before = contents(work_dir)
    message = r'holds checkpoints of another run \(best_accuracy_top1_epoch_\d\.pth, epoch_2\.pth\)'
    with pytest.raises(FileExistsError, match=message):
        run_tool('train.py', config)
    elsewhere = tmp_path / 'epoch_2.pth'
    shutil.copy(work_dir / 'epoch_2.pth', elsewhere)
    with pytest.raises(FileExistsError, match=message):
        run_tool('train.py', config, '--resume', elsewhere)
    assert contents(work_dir) == before


def test_two_runs_do_not_share_a_folder(make_config, run_tool):
    config = make_config()
    work_dir = config.parent / 'work_dir'
    holder = subprocess.Popen(
        [sys.executable, '-c', HOLD, work_dir], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    try:
        assert holder.stdout.readline() == 'held\n'
        message = rf"work_dir='.*' is in use by process {holder.pid} on \S+ since 20"
        with pytest.raises(WorkDirInUseError, match=message):
            run_tool('train.py', config)
        assert [path.name for path in work_dir.iterdir()] == ['.lock']
    finally:
        holder.kill()
        holder.wait()
    time.sleep(0.1)
    # Its child lives on, the lock does not
    run_tool('train.py', config, '--cfg-options', 'train_cfg.max_epochs=1')
    assert names(work_dir) == ['epoch_1.pth']


def test_a_lock_is_free_behind_its_block(tmp_path):
    with locked(tmp_path), locked(tmp_path):
        pass
    probe = (
        'import sys; from mmqkformer.engine.work_dir import locked\nwith locked(sys.argv[1]): pass'
    )
    subprocess.run([sys.executable, '-c', probe, tmp_path], check=True, cwd=ROOT)
