"""Transforms of events and frames: one draw a sample, nothing lost by the way."""

import numpy as np
import pytest
import torch
from event_streams import quick, random_events, same, streams
from hypothesis import given
from hypothesis import strategies as st
from mmengine.registry import TRANSFORMS

from mmqkformer.datasets.events import EventError, Events
from mmqkformer.datasets.events.frames import events_to_frames
from mmqkformer.datasets.events.store import EventStore, StoreWriter, encode
from mmqkformer.datasets.events.write_aedat import write_aedat2
from mmqkformer.datasets.seeding import SAMPLES, seed_everything


def build(kind, **kwargs):
    return TRANSFORMS.build(dict(type=kind, **kwargs))


def frames(time_steps=3, size=(16, 20), seed=0):
    return np.random.default_rng(seed).poisson(0.7, (time_steps, 2, *size)).astype(np.float32)


def test_events_of_a_store_are_loaded(tmp_path):
    events = random_events(30)
    writer = StoreWriter(tmp_path / 'train', dict(sensor_size=[12, 9], classes=['a']), ['f'])
    writer.add([('f', 0, len(events), events.duration, encode(events, 'f'))])
    writer.finish()
    results = build('LoadEvents')(dict(store=str(tmp_path / 'train'), recording=0))
    assert same(results['events'], EventStore(tmp_path / 'train')[0])
    assert results['events_source'] == f'{tmp_path / "train"}: f'
    assert results['ori_shape'] == (12, 9)


def test_damaged_events_of_a_store_are_told_unless_asked_not_to(tmp_path):
    events = random_events(30)
    writer = StoreWriter(tmp_path / 'train', dict(sensor_size=[12, 9], classes=['a']), ['f'])
    writer.add([('f', 0, len(events), events.duration, encode(events, 'f'))])
    writer.finish()
    content = bytearray((tmp_path / 'train' / 'events.bin').read_bytes())
    content[-5] ^= 1  # a polarity
    (tmp_path / 'train' / 'events.bin').write_bytes(content)
    sample = dict(store=str(tmp_path / 'train'), recording=0)
    with pytest.raises(EventError, match='train: f: field checksum'):
        build('LoadEvents')(dict(sample))
    assert len(build('LoadEvents', verify=False)(dict(sample))['events']) == 30
    with pytest.raises(ValueError, match=r"LoadEvents\.verify='False': expected True or False"):
        build('LoadEvents', verify='False')


def test_events_of_a_file_are_loaded(tmp_path):
    events = random_events(30)
    write_aedat2(tmp_path / 'a.aedat', events)
    load = build('LoadEvents', sensor_size=[12, 9])
    assert same(load(dict(events_path=tmp_path / 'a.aedat'))['events'], events)
    with pytest.raises(EventError, match=r'none\.aedat: cannot be read'):
        load(dict(events_path=tmp_path / 'none.aedat'))


def test_events_in_memory_are_checked():
    load = build('LoadEvents')
    events = random_events(30)
    assert load(dict(events=events))['events'] is events
    bad = Events(events.t[::-1], events.x, events.y, events.p, events.sensor_size)
    with pytest.raises(EventError, match='events: field t'):
        load(dict(events=bad))
    with pytest.raises(KeyError, match='expected store and recording, or events_path, or events'):
        load(dict(img=3))


@pytest.mark.parametrize('split_by', ['number', 'time'])
def test_frames_are_made(split_by):
    events = random_events(100)
    step = build('EventsToFrames', time_steps=4, split_by=split_by, size=[6, 5])
    results = step(dict(events=events, events_source='a'))
    assert np.array_equal(results['frames'], events_to_frames(events, 4, split_by, (6, 5)))
    assert results['img_shape'] == (6, 5)
    assert 'events' not in results
    with pytest.raises(EventError, match=r'a: field t: 3 events: expected at least .*=4'):
        step(dict(events=random_events(3), events_source='a'))


@pytest.mark.parametrize(
    ('kind', 'kwargs', 'message'),
    [
        ('EventsToFrames', dict(time_steps=0), r'EventsToFrames\.time_steps=0'),
        ('EventsToFrames', dict(time_steps=4, split_by='x'), r"EventsToFrames\.split_by='x'"),
        ('EventTimeJitter', dict(std_us=-1), r'EventTimeJitter\.std_us=-1'),
        ('EventTimeJitter', dict(std_us=float('nan')), r'EventTimeJitter\.std_us=nan'),
        ('LoadEvents', dict(sensor_size=[128]), r'LoadEvents\.sensor_size=\[128\]: expected'),
        ('EventTimeReversal', dict(prob=2), r'EventTimeReversal\.prob=2'),
        ('EventRoll', dict(shift=-1), r'EventRoll\.shift=-1'),
        ('EventFlip', dict(prob=-1), r'EventFlip\.prob=-1'),
        ('EventFlip', dict(direction='up'), r"EventFlip\.direction='up'"),
        ('EventAugment', dict(rotate=-1), r'EventAugment\.rotate=-1'),
        ('EventAugment', dict(cutout=(0.5, 0.1)), r'EventAugment\.cutout=\(0\.5, 0\.1\)'),
    ],
)
def test_bad_arguments_are_named(kind, kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(kind, **kwargs)


def sorted_pixels(events):
    return sorted(zip(events.x.tolist(), events.y.tolist(), events.p.tolist()))


@quick
@given(streams(), st.integers(0, 1000))
def test_jitter_keeps_every_event_and_the_order_of_time(events, std):
    np.random.seed(0)
    moved = build('EventTimeJitter', std_us=std)(dict(events=events))['events'].checked('moved')
    assert sorted_pixels(moved) == sorted_pixels(events)
    assert moved.t[0] >= events.t[0]
    assert moved.t[-1] <= events.t[-1]
    if std == 0:
        assert same(moved, events)


def test_jitter_moves_by_its_deviation():
    events = random_events(20_000, last=10_000_000)
    np.random.seed(0)
    moved = build('EventTimeJitter', std_us=300.0)(dict(events=events))['events']
    # Sorted again, neighbours have changed places; a mean over the middle has not moved
    assert not np.array_equal(moved.t, events.t)
    assert np.abs(moved.t.astype(float).mean() - events.t.mean()) < 30


@quick
@given(streams(), st.sampled_from([np.int64, np.uint32]))
def test_reversal_mirrors_time_and_polarity_and_undoes_itself(events, kind):
    reverse = build('EventTimeReversal', prob=1.0)
    stored = Events(events.t.astype(kind), events.x, events.y, events.p, events.sensor_size)
    back = reverse(dict(events=stored))['events'].checked('back')
    assert back.duration == events.duration
    assert int(back.p.sum()) == len(events) - int(events.p.sum())
    assert (back.x[0], back.y[0]) == (events.x[-1], events.y[-1])
    assert same(reverse(dict(events=back))['events'], events)


def test_reversal_happens_as_often_as_it_says():
    np.random.seed(0)
    events, reverse = random_events(10), build('EventTimeReversal', prob=0.3)
    count = sum(reverse(dict(events=events))['events'] is not events for _ in range(1000))
    assert count == pytest.approx(300, abs=60)


def test_rolled_frames_keep_their_pixels():
    roll = build('EventRoll', shift=2)
    given_frames, moves = frames(size=(7, 9)), set()
    for _ in range(100):
        rolled = roll(dict(frames=given_frames))['frames']
        moves.update(
            (y, x)
            for y in range(-2, 3)
            for x in range(-2, 3)
            if np.array_equal(rolled, np.roll(given_frames, (y, x), (2, 3)))
        )
    assert len(moves) > 20
    assert np.array_equal(
        build('EventRoll', shift=0)(dict(frames=given_frames))['frames'], given_frames
    )


@pytest.mark.parametrize(('direction', 'axis'), [('horizontal', 3), ('vertical', 2)])
def test_flip_mirrors_all_frames(direction, axis):
    given_frames = frames()
    flip = build('EventFlip', prob=1.0, direction=direction)
    flipped = flip(dict(frames=given_frames))['frames']
    assert np.array_equal(flipped, np.flip(given_frames, axis))
    assert build('EventFlip', prob=0.0)(dict(frames=given_frames))['frames'] is given_frames


def draws(count=600, size=(24, 24), time_steps=2, **kwargs):
    """Results of many draws on one frame that is repeated over time."""
    frame = np.random.default_rng(0).poisson(1.0, (1, 2, *size)).astype(np.float32) + 1
    given_frames = frame.repeat(time_steps, axis=0)
    augment = build('EventAugment', **kwargs)
    np.random.seed(0)
    for _ in range(count):
        results = augment(dict(frames=given_frames.copy()))
        yield results['operation'], given_frames, results['frames']


def test_all_frames_of_a_sample_are_changed_alike():
    for _, given_frames, changed in draws(60):
        assert changed.shape == given_frames.shape
        assert changed.dtype == np.float32
        assert np.array_equal(changed[0], changed[1])


def test_every_operation_is_drawn_as_often():
    counts = {}
    for operation, given_frames, changed in draws(1200):
        counts[operation] = counts.get(operation, 0) + 1
        if operation == 'identity':
            assert np.array_equal(changed, given_frames)
    assert set(counts) == {
        'identity', 'shear_x', 'translate_x', 'translate_y', 'rotate', 'cutout'
    }  # fmt: skip
    assert all(count == pytest.approx(200, abs=60) for count in counts.values())


def test_translations_are_whole_pixels_in_both_directions():
    seen = set()
    for operation, given_frames, changed in draws():
        if operation not in ('translate_x', 'translate_y'):
            continue
        axis = -1 if operation == 'translate_x' else -2
        for shift in range(-5, 6):
            moved = np.roll(given_frames, shift, axis)
            outside = [slice(None)] * 4
            outside[axis] = slice(0, shift) if shift >= 0 else slice(shift, None)
            moved[tuple(outside)] = 0
            if np.array_equal(moved, changed):
                seen.add((operation, shift))
                break
        else:
            raise AssertionError(f'{operation}: no whole translation within 5 pixels')
    # A strength of 31 evenly spaced ones, cut to whole pixels
    assert {shift for kind, shift in seen if kind == 'translate_x'} >= {-4, -2, 1, 3}
    assert {shift for kind, shift in seen if kind == 'translate_y'} >= {-4, -2, 1, 3}


def test_cutout_empties_one_square_of_the_area_that_it_says():
    areas = []
    for operation, given_frames, changed in draws(1500, size=(40, 40), cutout=(0.01, 0.11)):
        if operation != 'cutout':
            continue
        rows, columns = np.nonzero(changed[0, 0] == 0)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert height == width
        assert len(rows) == height * width
        kept = changed[0, 0] != 0
        assert np.array_equal(changed[0, 0][kept], given_frames[0, 0][kept])
        areas.append(len(rows) / 1600)
    assert 0.008 < min(areas) < 0.02
    assert 0.09 < max(areas) < 0.13


def test_rotation_and_shear_keep_the_middle_and_take_no_new_values():
    for operation, given_frames, changed in draws(200, size=(25, 25)):
        if operation in ('rotate', 'shear_x'):
            assert changed[0, 0, 12, 12] == given_frames[0, 0, 12, 12]
            assert set(np.unique(changed)) <= {0, *np.unique(given_frames)}


def test_the_largest_angles_are_turned(monkeypatch):
    """A bar through the middle: rotation by 30 degrees, shear by 0.3 radians."""
    bar = np.zeros((1, 2, 81, 81), np.float32)
    bar[..., 40] = 1
    augment = build('EventAugment')
    for operation, slope in (('rotate', np.tan(np.pi / 6)), ('shear_x', np.tan(0.3))):
        draws = iter([augment.OPERATIONS.index(operation), 30])
        monkeypatch.setattr(np.random, 'randint', lambda *_, draws=draws: next(draws))
        changed = augment(dict(frames=bar))['frames'][0, 0]
        rows, columns = np.nonzero(changed)
        assert abs(np.polyfit(rows, columns, 1)[0]) == pytest.approx(slope, abs=0.02)


def test_largest_strengths_are_the_arguments():
    still = dict(shear=0.0, translate=0, rotate=0.0)
    for operation, given_frames, changed in draws(100, **still):
        assert operation == 'cutout' or np.array_equal(changed, given_frames)


def test_a_sample_is_augmented_by_its_seed_alone():
    def once(index):
        seed_everything(SAMPLES, 0, 0, index)
        results = build('EventFlip')(dict(frames=frames()))
        return build('EventAugment')(results)['frames']

    assert np.array_equal(once(3), once(3))
    assert len({once(i).tobytes() for i in range(12)}) > 4


def test_samples_are_packed():
    given_frames = frames()
    results = dict(
        frames=given_frames,
        gt_label=4,
        ori_shape=(12, 9),
        img_shape=(16, 20),
        events_source='a',
        sample_idx=7,
    )
    packed = build('PackEvents')(results)
    assert packed['inputs'].dtype == torch.float32
    assert np.array_equal(packed['inputs'], given_frames)
    assert packed['data_samples'].gt_label.tolist() == [4]
    assert packed['data_samples'].metainfo == {
        k: results[k] for k in ('ori_shape', 'img_shape', 'events_source', 'sample_idx')
    }
    assert 'gt_label' not in build('PackEvents')(dict(frames=given_frames))['data_samples']
