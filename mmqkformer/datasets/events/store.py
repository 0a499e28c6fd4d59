"""Stores: the recordings of a split in one memory-mapped file, without pickled objects."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from .manifest import (
    COLUMNS,
    FORMAT,
    LAYOUT,
    Recording,
    read_manifest,
    read_meta,
    write_csv,
    write_manifest,
    write_meta,
)
from .stream import EventError, Events


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
    content = b''.join(columns[name].astype(kind).tobytes() for name, kind, _ in COLUMNS)
    return content + bytes(-len(content) % 4)


class EventStore:
    """Reads a store; the events stay on disk until they are used.

    A store is a folder with ``events.bin`` (see :func:`encode`), ``manifest.csv`` (one
    :class:`Recording` a line) and ``meta.json`` (format, layout, sensor, classes, source, split,
    and a SHA-256 over these and the manifest, which older stores lack).

    Args:
        path (str | Path): The folder.
        verify (bool): Whether the first look at a recording, in every process, compares its
            checksum and looks whether the sensor has its pixels. Defaults to True.

    Raises:
        EventError: It is no store, of another layout, or damaged.
    """

    def __init__(self, path: str | Path, verify: bool = True) -> None:
        self.path = Path(path)
        self._verify = verify
        self._verified: set[int] = set()
        meta = read_meta(self.path)
        self.sensor_size: tuple[int, int] = tuple(meta['sensor_size'])
        self.classes: tuple[str, ...] = tuple(meta['classes'])
        self.recordings = read_manifest(self.path, meta)
        self._bytes: np.memmap | None = None
        end = sum(recording.num_bytes for recording in self.recordings)
        try:
            size = (self.path / 'events.bin').stat().st_size
        except OSError as error:
            raise EventError(f'{self.path / "events.bin"}: cannot be read: {error}') from error
        if size != end:
            raise EventError(
                f'{self.path / "events.bin"}: {size} bytes: expected {end}, as the manifest says'
            )

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> Events:
        """The events of a recording; their columns are read-only views of the file.

        Raises:
            EventError: It is looked at for the first time and is damaged, see ``verify``.
        """
        if self._verify and index not in self._verified:
            self.verify_recording(index)
            self._verified.add(index)
        return self._events(index)

    def _events(self, index: int) -> Events:
        recording = self.recordings[index]
        columns, begin = {}, recording.offset
        for name, kind, size in COLUMNS:
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
        return {**self.__dict__, '_bytes': None, '_verified': set()}

    def verify_recording(self, index: int) -> None:
        """Reads a recording, compares its checksum and looks whether the sensor has its pixels.

        Args:
            index (int): Its number.

        Raises:
            EventError: They differ or cannot be; the message names store, recording and field.
        """
        recording = self.recordings[index]
        end = recording.offset + recording.num_bytes
        found = hashlib.sha256(self._mapped()[recording.offset : end]).hexdigest()
        if found != recording.checksum:
            raise EventError(
                f'{self.path}: {recording.file}: field checksum: {found}: expected '
                f'{recording.checksum}'
            )
        self._events(index).checked(f'{self.path}: {recording.file}')

    def verify(self) -> None:
        """Verifies every recording.

        Raises:
            EventError: One is damaged, see :meth:`verify_recording`.
        """
        for index in range(len(self)):
            self.verify_recording(index)


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
        EventError: There is a store, or a part of one, that was made in another way, or a file's
            name is no text.
    """

    def __init__(self, path: str | Path, meta: dict, files: list[str]) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(f'.{self.path.name}.part')
        try:
            digest = hashlib.sha256('\n'.join(files).encode()).hexdigest()
        except UnicodeEncodeError as error:
            raise EventError(f'{path}: field file: {error}: expected names in UTF-8') from error
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
            write_meta(self.partial, self.meta)
        self._go_on()

    def _check_same(self, folder: Path) -> None:
        path = folder / 'meta.json'
        if folder == self.partial and not path.exists():
            # Killed before anything was written
            write_meta(self.partial, self.meta)
        try:
            found = dict(json.loads(path.read_text()))
        except (OSError, TypeError, ValueError, RecursionError) as error:
            raise EventError(f'{folder}: exists, but is no store; choose another folder') from error
        wanted = json.loads(json.dumps(self.meta))
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
        try:
            for line in whole:
                entry = json.loads(line)
                self.recordings += [Recording(**row) for row in entry['recordings']]
                self.skipped += entry['skipped']
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise EventError(
                f'{journal}: cannot be read: {error!r}; remove the folder {self.partial}'
            ) from error
        self.done = len(whole)
        # Closed by finish() or close()
        self._journal = open(journal, 'r+b' if lines else 'w+b')  # noqa: SIM115
        self._journal.truncate(sum(map(len, whole)))
        self._journal.seek(0, os.SEEK_END)
        self._events = open(self.partial / 'events.bin', 'ab')  # noqa: SIM115
        self._end = sum(recording.num_bytes for recording in self.recordings)
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
        write_manifest(self.partial, self.meta, self.recordings)
        if self.skipped:
            write_csv(self.partial / 'skipped.csv', [['file', 'reason'], *self.skipped])
        (self.partial / 'journal.jsonl').unlink()
        os.replace(self.partial, self.path)

    def close(self) -> None:
        """Closes the files of a run that stops before the end."""
        self._events.close()
        self._journal.close()
