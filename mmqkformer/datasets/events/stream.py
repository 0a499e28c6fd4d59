"""A recording of an event camera, in memory."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np

MAX_SIDE = 2**16  # pixels, what 16 bits of a coordinate tell apart
SIZE_WORDS = f'(height, width), positive integers up to {MAX_SIDE}'


class EventError(ValueError):
    """Events or a file of events cannot be what they claim; the message names file and field."""


def is_size(size: object) -> bool:
    """Whether something is a height and width in pixels."""
    return (
        isinstance(size, (tuple, list))
        and len(size) == 2
        and all(isinstance(n, Integral) and not isinstance(n, bool) for n in size)
        and all(1 <= n <= MAX_SIDE for n in size)
    )


def check_size(size: tuple[int, int], key: str) -> None:
    """Checks a height and width.

    Raises:
        ValueError: They are none; the message names the key.
    """
    if not is_size(size):
        raise ValueError(f'{key}={size!r}: expected {SIZE_WORDS}')


@dataclass(frozen=True)
class Events:
    """A recording: four columns of one length N, in the order of time.

    Attributes:
        t (np.ndarray): Time in microseconds, [N], integers that never decrease.
        x (np.ndarray): Column of the pixel, [N], from 0 (left), integers.
        y (np.ndarray): Row of the pixel, [N], from 0 (top), integers.
        p (np.ndarray): Polarity, [N]: 1 brighter (ON), 0 darker (OFF).
        sensor_size (tuple[int, int]): Height and width of the sensor in pixels.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    sensor_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, index: slice | np.ndarray) -> 'Events':
        """The events of a slice, a mask or an index array, on the same sensor."""
        return Events(self.t[index], self.x[index], self.y[index], self.p[index], self.sensor_size)

    @property
    def duration(self) -> int:
        """Microseconds from the first to the last event."""
        return int(self.t[-1]) - int(self.t[0]) if len(self) else 0

    def checked(self, source: str) -> 'Events':
        """Returns these events if they can come from the sensor.

        Args:
            source (str): File or data set, for the message.

        Raises:
            EventError: The sensor has no size, there are no events at all, columns of unequal
                length or no integers, a polarity other than 0 and 1, a time that runs backwards
                or does not fit 64 bits, a pixel off the sensor.
        """
        if not is_size(self.sensor_size):
            raise EventError(
                f'{source}: field sensor_size: {self.sensor_size!r}: expected {SIZE_WORDS}'
            )
        columns = {name: getattr(self, name) for name in 'txyp'}
        for name, column in columns.items():
            if column.ndim != 1 or column.dtype.kind not in 'iub' or len(column) != len(self.t):
                raise EventError(
                    f'{source}: field {name}: {column.dtype} of shape {column.shape}: expected '
                    f'integers of shape ({len(self.t)},), as many as in field t'
                )
        if not len(self):
            raise EventError(f'{source}: no events: expected at least 1')
        backwards = np.flatnonzero(self.t[1:] < self.t[:-1])
        if len(backwards):
            i = int(backwards[0])
            raise EventError(
                f'{source}: field t: {self.t[i + 1]} us at event {i + 1} follows {self.t[i]} us: '
                'expected times that never decrease'
            )
        if int(self.t[-1]) >= 2**63:
            raise EventError(f'{source}: field t: {self.t[-1]} us: expected less than 2^63 us')
        height, width = self.sensor_size
        for name, limit in (('p', 2), ('x', width), ('y', height)):
            column = columns[name]
            if int(column.min()) < 0 or int(column.max()) >= limit:
                i = int(np.flatnonzero((column < 0) | (column >= limit))[0])
                size = '' if name == 'p' else f' (sensor of height {height}, width {width})'
                raise EventError(
                    f'{source}: field {name}: {column[i]} at event {i}: expected 0 to '
                    f'{limit - 1}{size}'
                )
        return self
