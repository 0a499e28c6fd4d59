"""Finds the recordings in the archives of CIFAR10-DVS and DVS128 Gesture."""

import csv
import functools
import os
import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path

from .aedat import decode_aedat, read_aedat
from .classes import CIFAR10, GESTURES
from .files import SUFFIXES
from .prepare import Job, Named, job_of
from .stream import EventError
from .unpack import damage_told_as, extract_gestures, read_zip_member

_NUMBER = re.compile(r'[0-9]{1,18}')  # fits 64 bits

CIFAR10DVS_TREE = """
{src}
├── airplane.zip           (as downloaded, or the extracted folder airplane)
│   ├── airplane/cifar10_airplane_0.aedat
│   └── ...                (1,000 recordings)
└── ...                    (10 classes)"""

DVS128GESTURE_TREE = """
{src}
└── DvsGesture.tar.gz      (as downloaded, or the extracted folder DvsGesture)
    ├── trials_to_train.txt
    ├── trials_to_test.txt
    ├── user01_fluorescent.aedat
    ├── user01_fluorescent_labels.csv
    └── ..."""


def find_cifar10dvs(src: str | Path, sensor_size: tuple[int, int]) -> dict[str, dict[str, Job]]:
    """Finds the recordings of CIFAR10-DVS.

    Args:
        src (str | Path): Folder of the ten zip files, or of the ten extracted folders.
        sensor_size (tuple[int, int]): Height and width of the sensor.

    Returns:
        dict: Class -> file name -> job.

    Raises:
        EventError: A class is missing or empty, or its zip file is damaged.
    """
    src, found = Path(src), {}
    for label, name in enumerate(CIFAR10):
        folder, archive = src / name, src / f'{name}.zip'
        if folder.is_dir():
            jobs = {
                path.name: job_of(path, f'{name}/{path.name}', label, sensor_size)
                for path in sorted(folder.iterdir())
                if _is_recording(path.name)
            }
        elif archive.is_file():
            jobs = {
                file: Job(
                    f'{name}/{file}',
                    functools.partial(_load_member, archive, member, name, label, sensor_size),
                )
                for file, member in _members(archive).items()
            }
        else:
            jobs = {}
        if not jobs:
            tree = CIFAR10DVS_TREE.format(src=src)
            raise EventError(f'{src}: no recordings of class {name!r}; expected{tree}')
        found[name] = jobs
    return found


@functools.lru_cache(maxsize=len(CIFAR10))
def _opened(archive: Path, process: int) -> zipfile.ZipFile:
    """The archive, opened once in each process: a forked one would share the place in the file."""
    with damage_told_as(f'{archive}: cannot be read'):
        return zipfile.ZipFile(archive)


def _members(archive: Path) -> dict[str, str]:
    """File name -> member of each recording."""
    names = _opened(archive, os.getpid()).namelist()
    members = sorted(name for name in names if _is_recording(name.rsplit('/', 1)[-1]))
    counts = Counter(member.rsplit('/', 1)[-1] for member in members)
    for file, count in counts.items():
        if count > 1:
            raise EventError(f'{archive}: {file}: is in the archive {count} times')
    return {member.rsplit('/', 1)[-1]: member for member in members}


def _is_recording(name: str, suffixes: tuple[str, ...] = ('.aedat',)) -> bool:
    # Some systems add hidden files to archives
    return name.lower().endswith(suffixes) and not name.startswith('.')


def _load_member(
    archive: Path, member: str, name: str, label: int, sensor_size: tuple[int, int]
) -> list[Named]:
    source = f'{archive}: {member}'
    opened = _opened(archive, os.getpid())
    data = read_zip_member(opened, opened.getinfo(member), source)
    file = f'{name}/{member.rsplit("/", 1)[-1]}'
    return [(file, label, decode_aedat(data, source, sensor_size))]


def find_folders(
    src: str | Path, classes: list[str], sensor_size: tuple[int, int]
) -> dict[str, dict[str, Job]]:
    """Finds one's own recordings, ``src/CLASS/*.aedat`` or ``*.npz``.

    Args:
        src (str | Path): Folder of the class folders.
        classes (list[str]): Names of the classes.
        sensor_size (tuple[int, int]): Height and width of the sensor.

    Returns:
        dict: Class -> file name -> job.

    Raises:
        EventError: A class has no recording.
    """
    found = {}
    for label, name in enumerate(classes):
        paths = sorted((Path(src) / name).iterdir())
        paths = [path for path in paths if _is_recording(path.name, SUFFIXES)]
        if not paths:
            raise EventError(f'{Path(src) / name}: expected recordings, *.aedat or *.npz')
        found[name] = {p.name: job_of(p, f'{name}/{p.name}', label, sensor_size) for p in paths}
    return found


def extract_dvs128gesture(src: str | Path, dst: str | Path) -> Path:
    """Finds the folder ``DvsGesture``, extracting the download if need be.

    Args:
        src (str | Path): The tar.gz, its folder, or the extracted folder or its parent.
        dst (str | Path): Where to extract to, ``DST/.DvsGesture``; kept until :func:`clean`.

    Returns:
        Path: The folder with the trial lists.

    Raises:
        EventError: There is none, or the archive is damaged.
    """
    src, extracted = Path(src), Path(dst) / '.DvsGesture'
    for folder in (src, src / 'DvsGesture', extracted / 'DvsGesture'):
        if (folder / 'trials_to_train.txt').is_file():
            return folder
    archive = src / 'DvsGesture.tar.gz' if src.is_dir() else src
    if (src / 'DvsGesture').is_dir():
        archive = src / 'DvsGesture' / 'trials_to_train.txt'
    if not archive.is_file():
        tree = DVS128GESTURE_TREE.format(src=src)
        raise EventError(f'{archive}: does not exist; expected{tree}')
    partial = extracted.with_name('.DvsGesture.part')
    shutil.rmtree(partial, ignore_errors=True)
    (partial / 'DvsGesture').mkdir(parents=True)
    try:
        extract_gestures(archive, partial / 'DvsGesture')
        if not (partial / 'DvsGesture' / 'trials_to_train.txt').is_file():
            raise EventError(f'{archive}: has no DvsGesture/trials_to_train.txt')
        partial.replace(extracted)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return extracted / 'DvsGesture'


def clean(dst: str | Path) -> None:
    """Removes what :func:`extract_dvs128gesture` extracted."""
    shutil.rmtree(Path(dst) / '.DvsGesture', ignore_errors=True)


def find_dvs128gesture(folder: Path, split: str, sensor_size: tuple[int, int]) -> list[Job]:
    """Finds the recordings of one of the official trial lists.

    Args:
        folder (Path): See :func:`extract_dvs128gesture`.
        split (str): ``train`` or ``test``.
        sensor_size (tuple[int, int]): Height and width of the sensor.

    Returns:
        list[Job]: One for each recording, of several gestures.

    Raises:
        EventError: The list is missing or empty.
    """
    path = folder / f'trials_to_{split}.txt'
    try:
        names = path.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise EventError(f'{path}: the list of the split is missing: {error}') from error
    if not names:
        raise EventError(f'{path}: expected a recording a line')
    for name in names:
        if '/' in name or '\\' in name or not _is_recording(name):
            raise EventError(f'{path}: {name!r}: expected the name of a recording, *.aedat')
    return [
        Job(name, functools.partial(_load_gestures, folder / name, sensor_size)) for name in names
    ]


def _load_gestures(path: Path, sensor_size: tuple[int, int]) -> list[Named]:
    """The gestures of a recording: events of ``start <= t < end`` for each row of its labels."""
    windows = read_windows(path.with_name(f'{path.stem}_labels.csv'))
    events = read_aedat(path, sensor_size)
    found = []
    for i, (gesture, start, end) in enumerate(windows):
        first, behind = events.t.searchsorted((start, end))
        if first == behind:
            raise EventError(
                f'{path}: field t: no events from {start} to {end} us, gesture {i} of the labels'
            )
        found.append((f'{path.stem}/{i:03d}', gesture, events[first:behind]))
    return found


def read_windows(path: Path) -> list[tuple[int, int, int]]:
    """Reads the labels of a recording of DVS128 Gesture.

    Args:
        path (Path): CSV file with ``class,startTime_usec,endTime_usec``, classes from 1.

    Returns:
        list[tuple[int, int, int]]: Label from 0, start and end in microseconds.

    Raises:
        EventError: It is missing, empty, or a field is wrong; the message names line and field.
    """
    found = []
    try:
        with open(path, newline='') as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                values = []
                for field in ('class', 'startTime_usec', 'endTime_usec'):
                    text = row.get(field)
                    if text is None or not _NUMBER.fullmatch(text.strip()):
                        raise EventError(
                            f'{path}: line {number}: field {field}: {text!r}: expected a number'
                        )
                    values.append(int(text))
                gesture, start, end = values
                if not 1 <= gesture <= len(GESTURES):
                    raise EventError(
                        f'{path}: line {number}: field class: {gesture}: expected 1 to '
                        f'{len(GESTURES)}'
                    )
                if end <= start:
                    raise EventError(
                        f'{path}: line {number}: field endTime_usec: {end}: expected more than '
                        f'startTime_usec={start}'
                    )
                found.append((gesture - 1, start, end))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EventError(f'{path}: the labels cannot be read: {error!r}') from error
    if not found:
        raise EventError(f'{path}: expected a gesture a line, behind the header')
    return found
