"""Files that are complete or not there."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What a disk says that is full, or that may not be written to
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to, renamed at the end and removed on errors.

    Folders above are made.

    Args:
        path (str | Path): The file.

    Yields:
        Path: The temporary name, hidden, with another suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # it came from a write
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def disk_errors_in_one_line() -> Iterator[None]:
    """Ends a program whose disk is full or read-only with one line that names the file.

    Raises:
        SystemExit: With the line.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        raise SystemExit(f'error: {error.filename or "disk"}: {error.strerror}') from error


def write_atomically(content: bytes, path: str | Path) -> None:
    """Writes a file whole or not at all, flushed to disk before it gets its name."""
    with written_whole(path) as partial, open(partial, 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
