"""A work directory belongs to one run: nothing of another is overwritten, and nothing removed."""

import errno
import os
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


@pytest.fixture(scope='module')
def trained(make_config, run_tool):
    """A run of two epochs that keeps one checkpoint and the best; its config and folder."""
    hook = "type='AtomicCheckpointHook', interval=1"
    config = make_config((hook, f"{hook}, max_keep_ckpts=1, save_best='accuracy/top1'"))
    run_tool('train.py', config)
    return config, config.parent / 'work_dir'


@pytest.fixture
def run(trained, run_tool, tmp_path):
    """A copy of that folder, and how to train into it."""
    work_dir = tmp_path / 'work_dir'
    shutil.copytree(trained[1], work_dir)

    def train(*arguments, into=work_dir, epochs=3):
        options = ('--cfg-options', f'train_cfg.max_epochs={epochs}')
        run_tool('train.py', trained[0], *arguments, '--work-dir', into, *options)

    return train, work_dir


def test_a_run_removes_only_its_own_files(run, tmp_path):
    train, theirs = run
    before = contents(theirs)
    assert len(before) == 2
    mine = tmp_path / 'mine'
    train('--resume', theirs / 'epoch_2.pth', into=mine, epochs=4)
    assert contents(theirs) == before
    assert 'epoch_4.pth' in names(mine)
    assert 'epoch_3.pth' not in names(mine)


def test_a_forged_name_removes_nothing(run, tmp_path):
    train, work_dir = run
    treasure, poem = tmp_path / 'treasure.pth', work_dir / 'poem.txt'
    other = work_dir / 'subfolder' / 'epoch_9.pth'
    other.parent.mkdir()
    for path in (treasure, poem, other):
        path.write_text('dear')
    checkpoint = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    info = checkpoint['message_hub']['runtime_info']
    for path in (treasure, poem, '../' * 20 + str(treasure), other):
        # Every score is better than this one
        info.update(best_ckpt=str(path), best_score=-1.0, interim_ckpt=str(path))
        info.update(keep_ckpt_ids=['/../subfolder/epoch_9', '/../../treasure', 1, 2])
        torch.save(checkpoint, work_dir / 'epoch_2.pth')
        (work_dir / 'last_checkpoint').write_text('epoch_2.pth')
        train('--resume')
        assert treasure.read_text() == poem.read_text() == other.read_text() == 'dear'


def test_the_best_of_a_moved_folder_is_replaced_where_it_is(run):
    train, work_dir = run
    before = names(work_dir)
    checkpoint = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    checkpoint['message_hub']['runtime_info'].update(best_score=-1.0, validated_epoch=2)
    moved = work_dir.with_name('moved')
    shutil.copytree(work_dir, moved)
    torch.save(checkpoint, moved / 'epoch_2.pth')
    train('--resume', into=moved)
    assert names(moved) == ['best_accuracy_top1_epoch_3.pth', 'epoch_3.pth']
    assert names(work_dir) == before


@pytest.mark.parametrize('pointer', [None, '', 'epoch_7.pth', '/moved/away/epoch_3.pth'])
def test_the_newest_complete_checkpoint_is_found(run, pointer):
    work_dir = run[1]
    if pointer is None:
        (work_dir / 'last_checkpoint').unlink()
    else:
        (work_dir / 'last_checkpoint').write_text(pointer)
    content = (work_dir / 'epoch_2.pth').read_bytes()
    assert len(content) > 5000
    (work_dir / 'epoch_3.pth').write_bytes(content[:5000])
    assert newest_checkpoint(work_dir) == str(work_dir / 'epoch_2.pth')


def test_a_run_resumes_without_a_pointer(run):
    train, work_dir = run
    (work_dir / 'last_checkpoint').unlink()
    train('--resume')
    assert torch.load(work_dir / 'epoch_3.pth', weights_only=True)['meta']['iter'] == 12


def test_the_pointer_is_followed_where_it_can_be(run):
    work_dir = run[1]
    checkpoint = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    checkpoint['meta']['iter'] = 2
    torch.save(checkpoint, work_dir / 'epoch_1.pth')
    (work_dir / 'last_checkpoint').write_text('/its/former/place/epoch_1.pth\n')
    assert newest_checkpoint(work_dir) == str(work_dir / 'epoch_1.pth')


def test_incomplete_checkpoints_alone_are_no_beginning(run):
    train, work_dir = run
    for path in work_dir.glob('*.pth'):
        path.write_bytes(path.read_bytes()[:5000])
    before = contents(work_dir)
    with pytest.raises(ValueError, match=r'none of its checkpoints is complete: epoch_2\.pth'):
        train('--resume')
    assert contents(work_dir) == before


def test_a_new_run_does_not_overwrite_another(run, tmp_path):
    train, work_dir = run
    before = contents(work_dir)
    message = r'holds checkpoints of another run \(best_accuracy_top1_epoch_\d\.pth, epoch_2\.pth\)'
    with pytest.raises(FileExistsError, match=message):
        train()
    elsewhere = tmp_path / 'epoch_2.pth'
    shutil.copy(work_dir / 'epoch_2.pth', elsewhere)
    with pytest.raises(FileExistsError, match=message):
        train('--resume', elsewhere)
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


def test_a_full_disk_is_one_line_and_loses_nothing(run, monkeypatch):
    train, work_dir = run
    before = contents(work_dir)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', full)
    message = r'^error: .*work_dir/epoch_3\.pth: No space left on device$'
    with pytest.raises(SystemExit, match=message):
        train('--resume')
    assert contents(work_dir) == before
    assert not list(work_dir.glob('.*.part'))


def test_outputs_leave_nothing_on_a_full_disk(trained, run_tool, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[-1]))

    config, work_dir = trained
    out = tmp_path / 'scores.json'
    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(SystemExit, match=r'^error: .*scores\.json: No space left on device$'):
        run_tool(
            'test.py', config, work_dir / 'epoch_2.pth', '--work-dir', tmp_path / 'test',
            '--out', out, '--out-item', 'metrics',
        )  # fmt: skip
    publish = 'model_converters/publish_model.py'
    with pytest.raises(SystemExit, match=r'^error: .*\.pth: No space left on device$'):
        run_tool(publish, work_dir / 'epoch_2.pth', tmp_path / 'pub.pth')
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_folder_that_may_not_be_written_is_one_line(make_config, run_tool, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    config = make_config()
    monkeypatch.setattr(Path, 'mkdir', refuse)
    with pytest.raises(SystemExit, match=r'^error: .*/work_dir: Read-only file system$'):
        run_tool('train.py', config)


def test_a_lock_is_free_behind_its_block(tmp_path):
    with locked(tmp_path), locked(tmp_path):
        pass
    probe = (
        'import sys; from mmqkformer.engine.work_dir import locked\nwith locked(sys.argv[1]): pass'
    )
    subprocess.run([sys.executable, '-c', probe, tmp_path], check=True, cwd=ROOT)
