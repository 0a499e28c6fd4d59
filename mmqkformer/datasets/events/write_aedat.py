"""Writes recordings in the formats of the original archives."""

import itertools
from pathlib import Path

import numpy as np

from ...files import write_atomically
from .stream import EventError, Events

AEDAT2_HEADER = (
    b'#!AER-DAT2.0\r\n'
    b'# This is a raw AE data file - do not edit\r\n'
    b'# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event\r\n'
    b'# Timestamps tick is 1 us\r\n'
)
AEDAT3_HEADER = b'#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n'


def write_aedat2(path: str | Path, events: Events) -> None:
    """Writes AEDAT 2.0 of a DVS128, the format of CIFAR10-DVS.

    Big-endian address and time. As in that data set, the camera is turned: the address has
    ``127 - x`` at bits 8 to 14, ``127 - y`` at bits 1 to 7 and ``1 - p`` at bit 0.

    Args:
        path (str | Path): File to write, whole or not at all.
        events (Events): At most 128 x 128 pixels.

    Raises:
        EventError: A pixel or a time does not fit the format.
    """
    events.checked(str(path))
    _check_fit(path, 'x, y', max(events.sensor_size), 128)
    _check_fit(path, 't', int(events.t[-1]) + 1, 2**32)
    x, y, p = (column.astype(np.uint32) for column in (events.x, events.y, events.p))
    records = np.empty((len(events), 2), '>u4')
    records[:, 0] = (127 - x) << 8 | (127 - y) << 1 | (1 - p)
    records[:, 1] = events.t
    write_atomically(AEDAT2_HEADER + records.tobytes(), path)


def write_aedat3(path: str | Path, events: Events, packet_size: int = 4096) -> None:
    """Writes AEDAT 3.1, the format of DVS128 Gesture.

    Little-endian packets of polarity events, all valid; a packet's header has the bits of the time
    from 2^31 upwards, so that a packet never crosses that border.

    Args:
        path (str | Path): File to write, whole or not at all.
        events (Events): At most 32,768 x 32,768 pixels.
        packet_size (int): Events of a packet. Defaults to 4096.

    Raises:
        EventError: A pixel or a time does not fit the format.
    """
    events.checked(str(path))
    _check_fit(path, 'x, y', max(events.sensor_size), 2**15)
    _check_fit(path, 't', int(events.t[-1]) + 1, 2**62)
    t = events.t.astype(np.int64)
    x, y, p = (column.astype(np.uint32) for column in (events.x, events.y, events.p))
    records = np.empty((len(events), 2), '<u4')
    records[:, 0] = x << 17 | y << 2 | p << 1 | 1
    records[:, 1] = t & (2**31 - 1)
    overflow = t >> 31
    borders = {0, len(events), *range(0, len(events), packet_size)}
    borders |= set((np.flatnonzero(np.diff(overflow)) + 1).tolist())
    borders = sorted(borders)
    content = [AEDAT3_HEADER]
    for begin, end in itertools.pairwise(borders):
        # Type 1 (polarity), source 1; size of an event, offset of its time, overflow; capacity,
        # number, number of valid ones
        count = end - begin
        content.append(np.array([1, 1], '<i2').tobytes())
        content.append(np.array([8, 4, overflow[begin], count, count, count], '<i4').tobytes())
        content.append(records[begin:end].tobytes())
    write_atomically(b''.join(content), path)


def _check_fit(path: str | Path, field: str, value: int, limit: int) -> None:
    if value > limit:
        raise EventError(f'{path}: field {field}: {value}: expected at most {limit} in this format')
