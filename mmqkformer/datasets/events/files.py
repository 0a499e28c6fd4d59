"""Single files of events, such as one's own recordings."""

import zipfile
from pathlib import Path

import numpy as np

from .aedat import DVS128, read_aedat
from .stream import EventError, Events

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
    columns = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in 'txyp':
                if name not in arrays:
                    raise EventError(f'{path}: field {name}: is missing, of t, x, y, p')
                columns[name] = arrays[name]
    except EventError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise EventError(f'{path}: is no .npz file of numbers: {error}') from error
    events = Events(**columns, sensor_size=tuple(sensor_size)).checked(str(path))
    kinds = {'t': np.int64, 'x': np.uint16, 'y': np.uint16, 'p': np.uint8}
    columns = {name: getattr(events, name).astype(kind) for name, kind in kinds.items()}
    return Events(**columns, sensor_size=events.sensor_size)
