"""From the files of an archive to stores: in parallel, in order, and on after a kill."""

import functools
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from .files import read_events
from .parallel import in_order
from .store import StoreWriter, encode
from .stream import EventError, Events

Named = tuple[str, int, Events]


@dataclass(frozen=True)
class Job:
    """A file of the archive.

    Attributes:
        file (str): Its name in the manifest and in messages.
        load (Callable): Reads its recordings, each with a name and a label; raises ``EventError``.
    """

    file: str
    load: Callable[[], list[Named]]


def prepare_store(
    path: str | Path, jobs: list[Job], meta: dict, workers: int = 1, skip_bad: bool = False
) -> None:
    """Writes a store, or goes on with one that was begun.

    Args:
        path (str | Path): Folder of the store.
        jobs (list[Job]): The files, in order.
        meta (dict): See :class:`~mmqkformer.datasets.events.store.StoreWriter`.
        workers (int): Processes that read. Defaults to 1.
        skip_bad (bool): Whether a bad file is named, counted and left out, instead of stopping the
            run. Defaults to False.

    Raises:
        EventError: A file is bad or ends the process that reads it, or the store was made in
            another way.
    """
    writer = StoreWriter(path, meta, [job.file for job in jobs])
    if writer.finished:
        print(f'{path}: is complete')
        return
    rest = jobs[writer.done :]
    try:
        with (
            tqdm(total=len(jobs), initial=writer.done, desc=str(path), unit='file') as bar,
            closing(in_order(_load, rest, workers, _died)) as results,
        ):
            for job, (recordings, error) in zip(rest, results):
                if error is None:
                    writer.add(recordings)
                elif skip_bad:
                    writer.skip(job.file, error)
                    tqdm.write(f'skipped {error}', file=sys.stderr)
                else:
                    raise EventError(f'{error} (--skip-bad leaves such files out)')
                bar.update()
        writer.finish()
    finally:
        if not Path(path).exists():
            writer.close()
    events = sum(recording.num_events for recording in writer.recordings)
    print(
        f'{path}: {len(writer.recordings)} recordings, {events:,} events, '
        f'{len(writer.skipped)} bad files skipped'
    )


def _load(job: Job) -> tuple[list, str | None]:
    try:
        return [
            (name, label, len(events), events.duration, encode(events, name))
            for name, label, events in job.load()
        ], None
    except EventError as error:
        return [], str(error)
    except MemoryError as error:
        return [], f'{job.file}: cannot be read: {error!r}'


def _died(job: Job) -> tuple[list, str]:
    return [], f'{job.file}: the process that read it died, alone too (killed, or out of memory)'


def load_one(path: str | Path, name: str, label: int, sensor_size: tuple[int, int]) -> list[Named]:
    """A file that is a recording."""
    return [(name, label, read_events(path, sensor_size))]


def job_of(path: Path, name: str, label: int, sensor_size: tuple[int, int]) -> Job:
    """The job of a file that is a recording."""
    return Job(name, functools.partial(load_one, path, name, label, sensor_size))
