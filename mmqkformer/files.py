"""Files that are complete or not there."""

import os
from pathlib import Path


def write_atomically(content: bytes, path: str | Path) -> None:
    """Writes a file under a temporary name beside it, flushes it to disk and renames it."""
    path = Path(path)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        with open(partial, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
