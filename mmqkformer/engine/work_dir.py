"""The folder of a run: one run at a time, and the checkpoint that it goes on from."""

import errno
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from .checkpoints import read_checkpoint

LOCK = '.lock'
POINTER = 'last_checkpoint'
# What a run goes on from; the best ones have no optimizer
RESUMABLE = re.compile(r'(epoch|iter)_(\d+)\.pth')
WRITTEN = re.compile(r'(best_.+_)?(epoch|iter)_\d+\.pth')
# Folders that this process has locked
_held: set[Path] = set()


class WorkDirInUseError(RuntimeError):
    """Another run writes to the folder."""


@contextmanager
def locked(work_dir: str | Path) -> Iterator[None]:
    """Keeps other processes from training into a folder.

    The kernel frees the lock with the process that holds it, however that ends. Within one
    process the lock may be asked for again.

    Args:
        work_dir (str | Path): The folder; it is made.

    Raises:
        WorkDirInUseError: Another process holds the lock; the message names it.
    """
    folder = Path(work_dir).resolve()
    if folder in _held:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, 'a+') as file:
        _lock(file, folder)
        file.truncate(0)
        now = datetime.now().astimezone().isoformat(sep=' ', timespec='seconds')
        print(f'process {os.getpid()} on {socket.gethostname()} since {now}', file=file, flush=True)
        _held.add(folder)
        try:
            yield
        finally:
            _held.remove(folder)


def _lock(file: object, folder: Path) -> None:
    try:
        # A lock of flock() would outlive a killed run in the workers of its data loaders
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        owner = file.read().strip() or 'another process'
        raise WorkDirInUseError(
            f'work_dir={str(folder)!r} is in use by {owner}: expected a folder of its own for '
            'each run (--work-dir)'
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        print_log(f'{folder}: this file system has no locks; keep other runs out', 'current')


def newest_checkpoint(work_dir: str | Path) -> str | None:
    """The checkpoint that a run in this folder goes on from.

    It is the one that ``last_checkpoint`` names, wherever the folder was when that was written;
    if that one is missing or incomplete, the complete one of the latest iteration.

    Args:
        work_dir (str | Path): Folder of the run.

    Returns:
        str | None: Path of the checkpoint; None where there is no file of that kind.

    Raises:
        ValueError: There are such files, but none is complete.
    """
    folder = Path(work_dir)
    files = [path for path in folder.glob('*.pth') if RESUMABLE.fullmatch(path.name)]
    if not files:
        return None
    pointer = folder / POINTER
    named = folder / Path(pointer.read_text().strip()).name if pointer.is_file() else None
    if named in files and _iteration(named) is not None:
        return str(named)
    complete = {path: at for path in files if (at := _iteration(path)) is not None}
    if not complete:
        names = ', '.join(sorted(path.name for path in files))
        raise ValueError(f'{folder}: none of its checkpoints is complete: {names}')
    newest = max(complete, key=complete.get)
    print_log(f'{pointer} names no complete checkpoint; the newest one is {newest}', 'current')
    return str(newest)


def _iteration(path: Path) -> int | None:
    """Iterations trained; None where the file is not complete."""
    try:
        checkpoint = read_checkpoint(str(path))
    except (ValueError, OSError):
        return None
    meta = checkpoint.get('meta', {})
    is_complete = {'state_dict', 'optimizer', 'message_hub'} <= set(checkpoint)
    return meta['iter'] if is_complete and {'epoch', 'iter'} <= set(meta) else None


def choose_start(cfg: Config, resume: str | None) -> None:
    """Tells a training what it starts from, and keeps it from overwriting another one.

    Args:
        cfg (Config): Config with ``work_dir``; ``resume`` and ``load_from`` are set in place, so
            that a run resumes from the very file that was checked.
        resume (str | None): Checkpoint to resume from; ``auto`` is the newest one of the work
            directory, or none if it has none. None leaves the choice to the config.

    Raises:
        FileExistsError: The work directory holds checkpoints of a run that this is not.
        ValueError: Its checkpoints are to be resumed, but none is complete.
    """
    folder = Path(cfg.work_dir)
    if resume is not None:
        cfg.resume = True
        cfg.load_from = None if resume == 'auto' else resume
    if cfg.get('resume') and cfg.get('load_from') is None:
        cfg.load_from = newest_checkpoint(folder)
        cfg.resume = cfg.load_from is not None
        source = cfg.load_from or f'the beginning: {folder} has no checkpoint'
        print_log(f'resuming from {source}', 'current')
    is_own = cfg.get('resume') and _folder_of(cfg.load_from) == folder.resolve()
    written = sorted(path.name for path in folder.glob('*.pth') if WRITTEN.fullmatch(path.name))
    if written and not is_own:
        raise FileExistsError(
            f'work_dir={str(folder)!r} holds checkpoints of another run ({", ".join(written)}), '
            'which this one would overwrite: expected --resume to go on with it, another '
            '--work-dir, or that you remove them'
        )


def _folder_of(checkpoint: str) -> Path | None:
    return None if '://' in checkpoint else Path(checkpoint).resolve().parent
