"""Frames count every event once, as SpikingJelly does."""

import numpy as np
import pytest
from event_streams import quick, random_events, streams
from hypothesis import given
from hypothesis import strategies as st
from spikingjelly.datasets.utils import integrate_events_by_fixed_frames_number

from mmqkformer.datasets.events import EventError, Events, frames
from mmqkformer.datasets.events.frames import events_to_frames, slice_bounds


def counted(events):
    """Counts of each polarity and pixel, one by one."""
    counts = np.zeros((2, *events.sensor_size))
    for x, y, p in zip(events.x, events.y, events.p):
        counts[p, y, x] += 1
    return counts


@quick
@given(streams(), st.integers(1, 12), st.sampled_from(['number', 'time']))
def test_no_event_is_lost_or_counted_twice(events, time_steps, split_by):
    if time_steps > len(events):
        return
    frames = events_to_frames(events, time_steps, split_by)
    assert frames.shape == (time_steps, 2, *events.sensor_size)
    assert frames.dtype == np.float32
    assert np.array_equal(frames.sum(0), counted(events))


@quick
@given(
    streams(),
    st.integers(1, 12),
    st.sampled_from(['number', 'time']),
    st.sampled_from([np.int64, np.uint32]),
)
def test_frames_equal_spikingjellys_where_it_returns(events, time_steps, split_by, kind):
    if time_steps > len(events):
        return
    columns = {name: getattr(events, name) for name in 'txyp'}
    try:
        expected = integrate_events_by_fixed_frames_number(
            columns, split_by, time_steps, *events.sensor_size
        )
    except IndexError:  # an empty time slice
        assert split_by == 'time'
        return
    stored = Events(events.t.astype(kind), events.x, events.y, events.p, events.sensor_size)
    assert np.array_equal(events_to_frames(stored, time_steps, split_by), expected)


def test_empty_slices_of_time_are_empty_frames():
    t = np.array([0, 1, 2, 1000])
    ones = np.ones(4, int)
    frames = events_to_frames(Events(t, ones, ones, ones, (2, 2)), 4, 'time')
    assert frames.sum((1, 2, 3)).tolist() == [3, 0, 0, 1]


def test_slices_of_time_begin_at_whole_shares_of_the_duration():
    t = np.array([100, 109, 110, 119, 120, 131])  # d = 31 // 3 = 10
    assert slice_bounds(t, 3, 'time').tolist() == [0, 2, 4, 6]
    assert slice_bounds(t, 4, 'number').tolist() == [0, 1, 2, 3, 6]


@pytest.mark.parametrize('size', [(6, 3), (5, 4), (24, 18), (1, 1)])
def test_another_resolution_keeps_every_event(size):
    events = random_events(400, (12, 9))
    frames = events_to_frames(events, 4, 'number', size)
    assert frames.shape == (4, 2, *size)
    assert frames.sum() == 400
    scaled = Events(
        events.t,
        events.x.astype(int) * size[1] // 9,
        events.y.astype(int) * size[0] // 12,
        events.p,
        size,
    )
    assert np.array_equal(frames, events_to_frames(scaled, 4, 'number'))


def test_coordinates_of_a_large_sensor_do_not_overflow():
    size = (720, 1280)
    corner = np.array([719]), np.array([1279])
    events = Events(
        np.array([5]), corner[1].astype('u2'), corner[0].astype('u2'), np.array([1], 'u1'), size
    )
    frames = events_to_frames(events, 1, 'time')
    assert frames[0, 1, 719, 1279] == frames.sum() == 1


@pytest.mark.parametrize('chunk', [1, 7, 100])
def test_the_size_of_a_chunk_changes_nothing(monkeypatch, chunk):
    events = random_events(100)
    expected = events_to_frames(events, 3)
    monkeypatch.setattr(frames, 'CHUNK', chunk)
    assert np.array_equal(events_to_frames(events, 3), expected)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(time_steps=0), r'EventsToFrames\.time_steps=0: expected'),
        (dict(time_steps=2.0), r'EventsToFrames\.time_steps=2\.0: expected'),
        (dict(time_steps=2, split_by='count'), r"split_by='count': expected 'number' or 'time'"),
        (dict(time_steps=2, size=(4,)), r'size=\(4,\): expected \(height, width\), positive'),
        (dict(time_steps=2, size=4), 'size=4: expected'),
        (dict(time_steps=2, size=(0, 4)), r'size=\(0, 4\): expected'),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        events_to_frames(random_events(10), **arguments)


def test_more_frames_than_events_names_the_file():
    message = r'a\.aedat: field t: 3 events: expected at least EventsToFrames\.time_steps=4'
    with pytest.raises(EventError, match=message):
        events_to_frames(random_events(3), 4, source='a.aedat')
