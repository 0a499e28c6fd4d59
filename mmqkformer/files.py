"""Files that are complete or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(content: bytes, path: str | Path) -> None:
    """Writes a file whole or not at all, flushed to disk before it gets its name."""
    with written_whole(path) as partial, open(partial, 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
