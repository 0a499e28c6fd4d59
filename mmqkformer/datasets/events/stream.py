"""A recording of an event camera, in memory."""

from dataclasses import dataclass

import numpy as np


class EventError(ValueError):
    """Events or a file of events cannot be what they claim; the message names file and field."""


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
            EventError: No events at all, columns of unequal length or no integers, a polarity
                other than 0 and 1, a time that runs backwards, a pixel off the sensor.
        """
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
