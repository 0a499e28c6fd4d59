"""Streams of events to frames of counts."""

import numpy as np

from ...checks import check_int, check_str
from .stream import EventError, Events, check_size

CHUNK = 1 << 17  # events counted at once: what that needs stays in the cache


def slice_bounds(t: np.ndarray, time_steps: int, split_by: str) -> np.ndarray:
    """Where a recording is cut into slices.

    The rule is SpikingJelly's. By number, every slice gets ``N // T`` events; by time, slice i gets
    the events of ``[t_0 + i d, t_0 + (i + 1) d)`` with ``d = (t_N - t_0) // T``. The last slice
    takes the rest in both.

    Args:
        t (np.ndarray): Times of the N events, in order.
        time_steps (int): Slices T.
        split_by (str): ``number`` or ``time``.

    Returns:
        np.ndarray: ``[T + 1]``; slice i has the events ``bounds[i]:bounds[i + 1]``.
    """
    steps = np.arange(time_steps, dtype=np.int64)
    if split_by == 'number':
        bounds = steps * (len(t) // time_steps)
    else:
        # In Python's integers: a store's times are unsigned and would wrap around
        first = int(t[0])
        duration = (int(t[-1]) - first) // time_steps
        # Of the times' own type, so that searchsorted does not copy them
        bounds = np.searchsorted(t, (first + steps * duration).astype(t.dtype), side='left')
    return np.append(bounds, len(t))


def events_to_frames(
    events: Events,
    time_steps: int,
    split_by: str = 'number',
    size: tuple[int, int] | None = None,
    source: str = 'events',
) -> np.ndarray:
    """Counts the events of every slice, polarity and pixel; none is lost or counted twice.

    Args:
        events (Events): A recording.
        time_steps (int): Frames T.
        split_by (str): See :func:`slice_bounds`. Defaults to ``number``.
        size (tuple[int, int] | None): Height and width of the frames; pixel ``(x, y)`` of the
            sensor counts for pixel ``(x w // W, y h // H)``. Defaults to the sensor's.
        source (str): File of the recording, for messages. Defaults to ``events``.

    Returns:
        np.ndarray: float32, ``[T, 2, H, W]``; channel 0 counts OFF, channel 1 ON events.

    Raises:
        ValueError: An argument is out of range.
        EventError: There are fewer events than frames.
    """
    check_frames(time_steps, split_by, size)
    if time_steps > len(events):
        raise EventError(
            f'{source}: field t: {len(events)} events: expected at least '
            f'EventsToFrames.time_steps={time_steps}'
        )
    height, width = size or events.sensor_size
    bounds = slice_bounds(events.t, time_steps, split_by)
    frames = np.empty((time_steps, 2 * height * width), np.float32)
    for frame, begin, end in zip(frames, bounds[:-1], bounds[1:]):
        frame[:] = sum(
            np.bincount(
                _places(events[first : min(first + CHUNK, end)], height, width),
                minlength=2 * height * width,
            )
            for first in range(begin, end, CHUNK)
        )
    return frames.reshape(time_steps, 2, height, width)


def _places(events: Events, height: int, width: int) -> np.ndarray:
    """Place of each event in a flattened frame ``[2, height, width]``."""
    # The narrowest integers that hold one: this arithmetic costs as much as the counting
    kind = np.min_scalar_type(2 * height * width - 1)
    place = np.array(events.p, kind)
    axes = (events.y, events.sensor_size[0], height), (events.x, events.sensor_size[1], width)
    for column, pixels, wanted in axes:
        column = np.asarray(column)
        if wanted != pixels:
            column = column.astype(np.intp) * wanted // pixels
        place *= kind.type(wanted)
        place += column.astype(kind, copy=False)
    return place


def check_frames(time_steps: int, split_by: str, size: tuple[int, int] | None) -> None:
    """Checks the arguments of :func:`events_to_frames`.

    Raises:
        ValueError: One is out of range; the message names it.
    """
    check_int('EventsToFrames.time_steps', time_steps, 1)
    check_str('EventsToFrames.split_by', split_by, ('number', 'time'))
    if size is not None:
        check_size(size, 'EventsToFrames.size')
