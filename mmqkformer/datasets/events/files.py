"""Single files of events, such as one's own recordings."""

import io
import zipfile
from pathlib import Path

import numpy as np

from .aedat import DVS128, read_aedat
from .stream import EventError, Events
from .unpack import damage_told_as, read_zip_member

SUFFIXES = ('.aedat', '.npz')


def read_events(path: str | Path, sensor_size: tuple[int, int] = DVS128) -> Events:
    """Reads AEDAT 2.0, AEDAT 3.1, or NumPy's ``.npz`` with ``t``, ``x``, ``y`` and ``p``.

    The last is what SpikingJelly writes: times in microseconds, p of 0 and 1.

    Args:
        path (str | Path): The file.
        sensor_size (tuple[int, int]): Height and width. Defaults to 128 x 128.

    Returns:
        Events: Its events.

    Raises:
        EventError: The file has another suffix, is damaged, or its events cannot come from the
            sensor; the message names file and field.
    """
    suffix = Path(path).suffix.lower()
    if suffix == '.aedat':
        return read_aedat(path, sensor_size)
    if suffix != '.npz':
        raise EventError(f'{path}: field suffix: {suffix!r}: expected one of {SUFFIXES}')
    columns = _read_npz(path)
    events = Events(**columns, sensor_size=tuple(sensor_size)).checked(str(path))
    kinds = {'t': np.int64, 'x': np.uint16, 'y': np.uint16, 'p': np.uint8}
    columns = {name: getattr(events, name).astype(kind) for name, kind in kinds.items()}
    return Events(**columns, sensor_size=events.sensor_size)


def _read_npz(path: str | Path) -> dict[str, np.ndarray]:
    columns = {}
    with damage_told_as(f'{path}: is no .npz file of numbers'), zipfile.ZipFile(path) as archive:
        for name in 'txyp':
            found = [info for info in archive.infolist() if info.filename == f'{name}.npy']
            if len(found) != 1:
                count = 'is missing' if not found else f'is there {len(found)} times'
                raise EventError(f'{path}: field {name}: {count}, of t, x, y, p')
            content = read_zip_member(archive, found[0], f'{path}: {name}.npy')
            with damage_told_as(f'{path}: is no .npz file of numbers: field {name}'):
                columns[name] = _decode_npy(content)
    return columns


def _decode_npy(content: bytes) -> np.ndarray:
    """The array of an ``.npy`` file; one that its header promises and the file lacks is refused."""
    stream = io.BytesIO(content)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[np.lib.format.read_magic(stream)]
    shape, _, kind = read_header(stream)
    # Of objects there is no such view: they would have to be unpickled
    return np.frombuffer(content, kind, offset=stream.tell()).reshape(shape)
