"""What can be wrong with a recording is told by field."""

from dataclasses import replace

import numpy as np
import pytest
from event_streams import random_events

from mmqkformer.datasets.events import EventError, Events


def changed(**columns):
    events = random_events(5)
    given = {name: getattr(events, name) for name in 'txyp'}
    return Events(**{**given, **columns}, sensor_size=events.sensor_size)


def test_good_events_pass_and_tell_their_length():
    events = random_events(50)
    assert events.checked('file') is events
    assert len(events) == 50
    assert events.duration == events.t[-1] - events.t[0]
    assert len(events[10:20]) == 10


@pytest.mark.parametrize(
    'size',
    [(0, 9), (12, -1), (12.0, 9), (True, 9), (12,), (12, 9, 2), 12, None, '12', (2**16 + 1, 9)],
)
def test_a_sensor_has_a_height_and_a_width(size):
    with pytest.raises(EventError, match=r'file: field sensor_size: .*: expected \(height, width'):
        replace(random_events(5), sensor_size=size).checked('file')


@pytest.mark.parametrize(
    ('columns', 'message'),
    [
        (dict(p=np.array([0, 1, 2, 0, 1])), 'file: field p: 2 at event 2: expected 0 to 1'),
        (dict(p=np.array([0, 1, -1, 0, 1])), 'file: field p: -1 at event 2: expected 0 to 1'),
        (dict(x=np.array([0, 1, 2, 9, 1])), 'field x: 9 at event 3: expected 0 to 8'),
        (dict(y=np.array([0, 12, 2, 0, 1])), 'field y: 12 at event 1: expected 0 to 11'),
        (dict(t=np.array([0, 5, 4, 6, 7])), 'field t: 4 us at event 2 follows 5 us'),
        (dict(t=np.array([0, 1, 2, 3, 2**63], np.uint64)), 'field t: .* us: expected less than 2'),
        (dict(t=np.arange(5.0)), 'field t: float64 of shape'),
        (dict(x=np.zeros(4, int)), r'field x: int64 of shape \(4,\): expected integers'),
        ({name: np.zeros(0, int) for name in 'txyp'}, 'file: no events: expected at least 1'),
    ],
)
def test_bad_events_are_told_by_field(columns, message):
    with pytest.raises(EventError, match=message):
        changed(**columns).checked('file')
