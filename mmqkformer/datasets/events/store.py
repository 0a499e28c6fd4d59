"""Stores: the recordings of a split in one memory-mapped file, without pickled objects."""

import csv
import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from ...files import write_atomically
from .stream import EventError, Events

FORMAT = 'mmqkformer event store'
LAYOUT = 1  # counts up when a store of before can no longer be read
_COLUMNS = (('t', '<u4', 4), ('x', '<u2', 2), ('y', '<u2', 2), ('p', 'u1', 1))
EVENT_BYTES = sum(size for *_, size in _COLUMNS)


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


def encode(events: Events, source: str) -> bytes:
    """The bytes of a recording in ``events.bin``: its columns one after the other.

    t is counted from the first event, in unsigned 32-bit microseconds; x and y have 16 bits, p 8.
    The end is filled up to whole words of 4 bytes.

    Args:
        events (Events): The recording.
        source (str): Its file, for the message.

    Raises:
        EventError: It is longer than 2^32 microseconds (71.6 minutes).
    """
    if events.duration >= 2**32:
        raise EventError(
            f'{source}: field t: a duration of {events.duration} us: expected less than 2^32 us'
        )
    columns = {'t': events.t - events.t[0], 'x': events.x, 'y': events.y, 'p': events.p}
    content = b''.join(columns[name].astype(kind).tobytes() for name, kind, _ in _COLUMNS)
    return content + bytes(-len(content) % 4)


class EventStore:
    """Reads a store; the events stay on disk until they are used.

    A store is a folder with ``events.bin`` (see :func:`encode`), ``manifest.csv`` (one
    :class:`Recording` a line) and ``meta.json`` (format, layout, sensor, classes, source, split).

    Args:
        path (str | Path): The folder.

    Raises:
        EventError: It is no store, of another layout, or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        meta = self._read_meta()
        self.sensor_size: tuple[int, int] = tuple(meta['sensor_size'])
        self.classes: tuple[str, ...] = tuple(meta['classes'])
        self.recordings = self._read_manifest()
        self._bytes: np.memmap | None = None
        end = sum(_padded(recording.num_events) for recording in self.recordings)
        size = (self.path / 'events.bin').stat().st_size
        if size != end:
            raise EventError(
                f'{self.path / "events.bin"}: {size} bytes: expected {end}, as the manifest says'
            )

    def _read_meta(self) -> dict:
        path = self.path / 'meta.json'
        try:
            meta = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise EventError(
                f'{path}: does not exist: expected a store, which tools/dataset_converters/'
                'prepare_*.py writes'
            ) from error
        except (ValueError, OSError) as error:
            raise EventError(f'{path}: cannot be read: {error}') from error
        if not isinstance(meta, dict) or meta.get('format') != FORMAT:
            raise EventError(f'{path}: field format: expected {FORMAT!r}')
        if meta.get('layout') != LAYOUT:
            raise EventError(
                f'{path}: field layout: {meta.get("layout")!r}: expected {LAYOUT}: remove the '
                'store and prepare it again'
            )
        for name in ('sensor_size', 'classes'):
            if not isinstance(meta.get(name), list):
                raise EventError(f'{path}: field {name}: {meta.get(name)!r}: expected a list')
        return meta

    def _read_manifest(self) -> list[Recording]:
        path = self.path / 'manifest.csv'
        kinds = {field.name: field.type for field in fields(Recording)}
        recordings, offset = [], 0
        try:
            with open(path, newline='') as file:
                for row in csv.DictReader(file):
                    recording = Recording(**{name: kind(row[name]) for name, kind in kinds.items()})
                    if recording.offset != offset or recording.num_events < 1:
                        raise EventError(
                            f'{path}: {recording.file}: field offset: {recording.offset}: expected '
                            f'{offset}, behind the recording before'
                        )
                    if not 0 <= recording.label < len(self.classes):
                        raise EventError(
                            f'{path}: {recording.file}: field label: {recording.label}: expected '
                            f'0 to {len(self.classes) - 1}'
                        )
                    recordings.append(recording)
                    offset += _padded(recording.num_events)
        except (OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, EventError):
                raise
            raise EventError(f'{path}: cannot be read: {error!r}') from error
        return recordings

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> Events:
        """The events of a recording; their columns are read-only views of the file."""
        recording = self.recordings[index]
        columns, begin = {}, recording.offset
        for name, kind, size in _COLUMNS:
            end = begin + size * recording.num_events
            columns[name] = self._mapped()[begin:end].view(kind)
            begin = end
        return Events(**columns, sensor_size=self.sensor_size)

    def _mapped(self) -> np.memmap:
        if self._bytes is None:
            self._bytes = np.memmap(self.path / 'events.bin', np.uint8, 'r')
        return self._bytes

    def __getstate__(self) -> dict:
        # A worker maps the file anew; pickling the map would copy it
        return {**self.__dict__, '_bytes': None}

    def verify(self) -> None:
        """Reads everything and compares the checksums.

        Raises:
            EventError: One differs; the message names the recording.
        """
        for recording in self.recordings:
            end = recording.offset + _padded(recording.num_events)
            found = hashlib.sha256(self._mapped()[recording.offset : end]).hexdigest()
            if found != recording.checksum:
                raise EventError(
                    f'{self.path}: {recording.file}: field checksum: {found}: expected '
                    f'{recording.checksum}'
                )


def _padded(num_events: int) -> int:
    return -(-EVENT_BYTES * num_events // 4) * 4


class StoreWriter:
    """Writes a store, file by file; a run that was killed goes on behind the last whole one.

    Everything grows in the hidden folder ``.NAME.part``, with a journal of the files that are
    through; :meth:`finish` renames it.

    Args:
        path (str | Path): Folder of the store.
        meta (dict): ``sensor_size``, ``classes``, and whatever else tells one preparation from
            another.
        files (list[str]): The files that will be added, in this order.

    Attributes:
        finished (bool): Whether the store was there already, made in the same way.
        done (int): Files that an earlier run added.

    Raises:
        EventError: There is a store, or a part of one, that was made in another way.
    """

    def __init__(self, path: str | Path, meta: dict, files: list[str]) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(f'.{self.path.name}.part')
        digest = hashlib.sha256('\n'.join(files).encode()).hexdigest()
        self.meta = {'format': FORMAT, 'layout': LAYOUT, **meta, 'files': digest}
        self.finished = self.path.exists()
        self.done, self.recordings, self.skipped = 0, [], []
        if self.finished:
            self._check_same(self.path)
            return
        if self.partial.exists():
            self._check_same(self.partial)
        else:
            self.partial.mkdir(parents=True)
            write_atomically(self._meta_bytes(), self.partial / 'meta.json')
        self._go_on()

    def _meta_bytes(self) -> bytes:
        return (json.dumps(self.meta, indent=1) + '\n').encode()

    def _check_same(self, folder: Path) -> None:
        path = folder / 'meta.json'
        if folder == self.partial and not path.exists():
            # Killed before anything was written
            write_atomically(self._meta_bytes(), path)
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise EventError(f'{folder}: exists, but is no store; choose another folder') from error
        wanted = json.loads(self._meta_bytes())
        for key in wanted:
            if found.get(key) != wanted[key]:
                raise EventError(
                    f'{path}: field {key}: {found.get(key)!r}: expected {wanted[key]!r}: {folder} '
                    'was prepared in another way; remove it, or choose another folder'
                )

    def _go_on(self) -> None:
        journal = self.partial / 'journal.jsonl'
        lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
        whole = [line for line in lines if line.endswith(b'\n')]
        for line in whole:
            entry = json.loads(line)
            self.recordings += [Recording(**row) for row in entry['recordings']]
            self.skipped += entry['skipped']
        self.done = len(whole)
        # Closed by finish() or close()
        self._journal = open(journal, 'r+b' if lines else 'w+b')  # noqa: SIM115
        self._journal.truncate(sum(map(len, whole)))
        self._journal.seek(0, os.SEEK_END)
        self._events = open(self.partial / 'events.bin', 'ab')  # noqa: SIM115
        self._end = sum(_padded(recording.num_events) for recording in self.recordings)
        if self._events.tell() < self._end:
            raise EventError(
                f'{self.partial / "events.bin"}: {self._events.tell()} bytes: expected '
                f'{self._end}, as the journal says; remove the folder'
            )
        self._events.truncate(self._end)

    def add(self, recordings: list[tuple[str, int, int, int, bytes]]) -> None:
        """Adds what came of a file.

        Args:
            recordings (list): Tuples of name, label, number of events, duration in microseconds
                and the bytes of :func:`encode`.
        """
        rows = []
        for file, label, num_events, duration, content in recordings:
            checksum = hashlib.sha256(content).hexdigest()
            rows.append(Recording(file, label, self._end, num_events, duration, checksum))
            self._events.write(content)
            self._end += len(content)
        self._events.flush()
        self._note(rows, [])

    def skip(self, file: str, reason: str) -> None:
        """Notes a bad file."""
        self._note([], [[file, reason]])

    def _note(self, rows: list[Recording], skipped: list[list[str]]) -> None:
        # Behind the events: what the journal says is there
        entry = {'recordings': [asdict(row) for row in rows], 'skipped': skipped}
        self._journal.write(json.dumps(entry).encode() + b'\n')
        self._journal.flush()
        self.recordings += rows
        self.skipped += skipped

    def finish(self) -> None:
        """Completes the store.

        Raises:
            EventError: There is nothing in it.
        """
        if not self.recordings:
            raise EventError(f'{self.path}: no recording could be read')
        os.fsync(self._events.fileno())
        self.close()
        names = [field.name for field in fields(Recording)]
        rows = [list(asdict(recording).values()) for recording in self.recordings]
        _write_csv(self.partial / 'manifest.csv', [names, *rows])
        if self.skipped:
            _write_csv(self.partial / 'skipped.csv', [['file', 'reason'], *self.skipped])
        (self.partial / 'journal.jsonl').unlink()
        os.replace(self.partial, self.path)

    def close(self) -> None:
        """Closes the files of a run that stops before the end."""
        self._events.close()
        self._journal.close()


def _write_csv(path: Path, rows: list[list]) -> None:
    text = io.StringIO(newline='')
    csv.writer(text, lineterminator='\n').writerows(rows)
    write_atomically(text.getvalue().encode(), path)
