"""What a store says of itself: ``meta.json`` and ``manifest.csv``."""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ...files import write_atomically
from .stream import SIZE_WORDS, EventError, is_size

FORMAT = 'mmqkformer event store'
LAYOUT = 1  # counts up when a store of before can no longer be read
COLUMNS = (('t', '<u4', 4), ('x', '<u2', 2), ('y', '<u2', 2), ('p', 'u1', 1))
EVENT_BYTES = sum(size for *_, size in COLUMNS)


@dataclass(frozen=True)
class Recording:
    """A row of the manifest.

    Attributes:
        file (str): Where the recording came from.
        label (int): Its class.
        offset (int): Its first byte in ``events.bin``.
        num_events (int): Number of events.
        duration_us (int): Microseconds from the first to the last event.
        checksum (str): SHA-256 of its bytes in ``events.bin``.
    """

    file: str
    label: int
    offset: int
    num_events: int
    duration_us: int
    checksum: str

    @property
    def num_bytes(self) -> int:
        """Its bytes in ``events.bin``, whole words of 4."""
        return -(-EVENT_BYTES * self.num_events // 4) * 4


def read_meta(folder: Path) -> dict:
    """Reads ``meta.json``.

    Args:
        folder (Path): The store.

    Raises:
        EventError: It is missing, of another layout, or a field is wrong.
    """
    path = folder / 'meta.json'
    try:
        meta = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise EventError(
            f'{path}: does not exist: expected a store, which tools/dataset_converters/'
            'prepare_*.py writes'
        ) from error
    except (ValueError, RecursionError, OSError) as error:
        raise EventError(f'{path}: cannot be read: {error}') from error
    if not isinstance(meta, dict) or meta.get('format') != FORMAT:
        raise EventError(f'{path}: field format: expected {FORMAT!r}')
    if meta.get('layout') != LAYOUT:
        raise EventError(
            f'{path}: field layout: {meta.get("layout")!r}: expected {LAYOUT}: remove the '
            'store and prepare it again'
        )
    size, classes = meta.get('sensor_size'), meta.get('classes')
    if not is_size(size):
        raise EventError(f'{path}: field sensor_size: {size!r}: expected {SIZE_WORDS}')
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise EventError(f'{path}: field classes: {classes!r}: expected a list of names')
    return meta


def read_manifest(folder: Path, meta: dict) -> list[Recording]:
    """Reads ``manifest.csv`` and compares the checksum that ``meta.json`` has of both.

    Args:
        folder (Path): The store.
        meta (dict): See :func:`read_meta`.

    Raises:
        EventError: It is missing, a field is wrong, or one of both files was changed.
    """
    path, classes = folder / 'manifest.csv', meta['classes']
    kinds = {field.name: field.type for field in fields(Recording)}
    recordings, offset = [], 0
    try:
        content = path.read_bytes()
        with io.StringIO(content.decode(), newline='') as file:
            for row in csv.DictReader(file):
                recording = Recording(**{name: kind(row[name]) for name, kind in kinds.items()})
                if recording.offset != offset or recording.num_events < 1:
                    raise EventError(
                        f'{path}: {recording.file}: field offset: {recording.offset}: expected '
                        f'{offset}, behind the recording before'
                    )
                if not 0 <= recording.label < len(classes):
                    raise EventError(
                        f'{path}: {recording.file}: field label: {recording.label}: expected '
                        f'0 to {len(classes) - 1}'
                    )
                recordings.append(recording)
                offset += recording.num_bytes
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        if isinstance(error, EventError):
            raise
        raise EventError(f'{path}: cannot be read: {error!r}') from error
    found = checksum(meta, content)
    if meta.get('checksum', found) != found:
        raise EventError(
            f'{folder / "meta.json"}: field checksum: {meta["checksum"]!r}: expected {found!r}: it '
            'or manifest.csv has changed since the preparation; prepare the store again'
        )
    return recordings


def checksum(meta: dict, manifest: bytes) -> str:
    """SHA-256 of the manifest and of what else ``meta.json`` says."""
    said = {key: value for key, value in meta.items() if key != 'checksum'}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode() + manifest).hexdigest()


def write_meta(folder: Path, meta: dict) -> None:
    """Writes ``meta.json``."""
    write_atomically((json.dumps(meta, indent=1) + '\n').encode(), folder / 'meta.json')


def write_manifest(folder: Path, meta: dict, recordings: Sequence[Recording]) -> None:
    """Writes ``manifest.csv``, and ``meta.json`` with the checksum of both."""
    rows = [list(asdict(recording).values()) for recording in recordings]
    path = folder / 'manifest.csv'
    write_csv(path, [[field.name for field in fields(Recording)], *rows])
    write_meta(folder, {**meta, 'checksum': checksum(meta, path.read_bytes())})


def write_csv(path: Path, rows: list[list]) -> None:
    """Writes a CSV file whole or not at all."""
    text = io.StringIO(newline='')
    csv.writer(text, lineterminator='\n').writerows(rows)
    write_atomically(text.getvalue().encode(), path)
