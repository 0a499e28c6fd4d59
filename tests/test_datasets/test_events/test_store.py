"""Stores give back what was written, go on after a kill, and tell what is wrong with them."""

import json
import pickle
import shutil

import numpy as np
import pytest
from event_streams import quick, random_events, same, streams
from hypothesis import given
from hypothesis import strategies as st

from mmqkformer.datasets.events import EventError, Events
from mmqkformer.datasets.events.store import EventStore, StoreWriter, encode

META = dict(sensor_size=[12, 9], classes=['a', 'b'], source='test', split='none')
FILES = ['a/1', 'a/2', 'b/1', 'b/2']


def recordings():
    return [random_events(n, seed=n, first=1000) for n in (1, 30, 7, 250)]


def row(file, label, events):
    return file, label, len(events), events.duration, encode(events, file)


def write(path, meta=None, stop=None):
    """Writes the four recordings, or only up to ``stop``."""
    writer = StoreWriter(path, meta or META, FILES)
    for i in range(writer.done, len(FILES))[:stop]:
        writer.add([row(FILES[i], i // 2, recordings()[i])])
    if stop is None:
        writer.finish()
    else:
        writer.close()
    return path


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / 'train')


def test_recordings_come_back(store):
    read = EventStore(store)
    assert len(read) == 4
    assert read.classes == ('a', 'b')
    assert read.sensor_size == (12, 9)
    assert [recording.file for recording in read.recordings] == FILES
    assert [recording.label for recording in read.recordings] == [0, 0, 1, 1]
    for i, events in enumerate(recordings()):
        expected = Events(events.t - events.t[0], events.x, events.y, events.p, (12, 9))
        assert same(read[i], expected)
        assert read.recordings[i].num_events == len(events)
        assert read.recordings[i].duration_us == events.duration
    read.verify()


def test_events_stay_on_disk_and_workers_map_them_anew(store):
    read = EventStore(store)
    assert isinstance(read[1].t.base, np.memmap) or isinstance(read[1].t, np.memmap)
    with pytest.raises(ValueError, match='read-only'):
        read[1].x[0] = 1
    state = pickle.dumps(read)
    assert len(state) < 3000
    assert same(pickle.loads(state)[3], read[3])


def test_nine_bytes_an_event(store):
    events = sum(len(events) for events in recordings())
    assert (store / 'events.bin').stat().st_size <= 9 * events + 3 * len(FILES)


@quick
@given(given_streams=st.lists(streams(), min_size=1, max_size=5))
def test_any_streams_come_back(tmp_path_factory, given_streams):
    path = tmp_path_factory.mktemp('store') / 'train'
    files = [str(i) for i in range(len(given_streams))]
    writer = StoreWriter(path, dict(META, sensor_size=[5, 7]), files)
    for file, events in zip(files, given_streams):
        writer.add([row(file, 0, events)])
    writer.finish()
    for found, events in zip(EventStore(path), given_streams):
        assert same(
            found, Events(events.t - events.t[0], events.x, events.y, events.p, events.sensor_size)
        )


@pytest.mark.parametrize('stop', [0, 1, 3])
@pytest.mark.parametrize('torn', [b'', b'{"recordings": [', b'half'])
def test_a_broken_run_goes_on_to_the_same_bytes(tmp_path, store, stop, torn):
    path = write(tmp_path / 'again', stop=stop)
    partial = tmp_path / '.again.part'
    assert not path.exists()
    # What a kill leaves: events that the journal does not know, half a line of the journal
    with open(partial / 'events.bin', 'ab') as file:
        file.write(b'some events')
    with open(partial / 'journal.jsonl', 'ab') as file:
        file.write(torn)
    assert StoreWriter(path, META, FILES).done == stop
    write(path)
    assert not partial.exists()
    for name in ('events.bin', 'manifest.csv', 'meta.json'):
        assert (path / name).read_bytes() == (store / name).read_bytes()


def test_a_finished_store_is_left_alone(store):
    before = (store / 'events.bin').stat().st_mtime_ns
    assert StoreWriter(store, META, FILES).finished
    assert (store / 'events.bin').stat().st_mtime_ns == before


@pytest.mark.parametrize('stop', [None, 2])
@pytest.mark.parametrize(
    ('meta', 'files', 'field'),
    [
        (dict(META, split='other'), FILES, "field split: 'none': expected 'other'"),
        (META, FILES[:3], 'field files'),
        (dict(META, sensor_size=[12, 10]), FILES, 'field sensor_size'),
    ],
)
def test_a_store_of_another_preparation_is_not_mixed(tmp_path, stop, meta, files, field):
    path = write(tmp_path / 'train', stop=stop)
    with pytest.raises(EventError, match=f'{field}.*was prepared in another way'):
        StoreWriter(path, meta, files)


def test_a_folder_of_something_else_is_not_written_into(tmp_path):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / 'image.png').touch()
    with pytest.raises(EventError, match='train: exists, but is no store'):
        StoreWriter(tmp_path / 'train', META, FILES)
    assert [path.name for path in (tmp_path / 'train').iterdir()] == ['image.png']


def test_a_run_killed_at_its_first_step_goes_on(tmp_path):
    (tmp_path / '.train.part').mkdir()
    write(tmp_path / 'train')
    assert len(EventStore(tmp_path / 'train')) == 4


def test_an_empty_store_is_not_finished(tmp_path):
    writer = StoreWriter(tmp_path / 'train', META, FILES)
    writer.skip('a/1', 'is bad')
    with pytest.raises(EventError, match='no recording could be read'):
        writer.finish()


def test_skipped_files_are_listed(tmp_path):
    writer = StoreWriter(tmp_path / 'train', META, FILES)
    writer.skip('a/1', 'is bad')
    writer.add([row('a/2', 0, recordings()[1])])
    writer.finish()
    assert (tmp_path / 'train' / 'skipped.csv').read_text() == 'file,reason\na/1,is bad\n'
    assert len(EventStore(tmp_path / 'train')) == 1


def test_a_recording_beyond_the_columns_is_refused():
    events = random_events(2, first=0)
    long = Events(np.array([0, 2**32]), events.x, events.y, events.p, events.sensor_size)
    with pytest.raises(EventError, match='a: field t: a duration of 4294967296 us'):
        encode(long, 'a')


def change_meta(**values):
    def change(store):
        meta = json.loads((store / 'meta.json').read_text())
        (store / 'meta.json').write_text(json.dumps({**meta, **values}))

    return change


def change_manifest(old, new):
    def change(store):
        text = (store / 'manifest.csv').read_text()
        assert old in text
        (store / 'manifest.csv').write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (shutil.rmtree, r'meta\.json: does not exist: expected a store, which tools/dataset_conv'),
        (lambda store: (store / 'meta.json').write_text('{'), r'meta\.json: cannot be read'),
        (change_meta(format='other'), r"meta\.json: field format: expected 'mmqkformer"),
        (change_meta(layout=0), r'field layout: 0: expected 1: remove the store and prepare it'),
        (change_meta(classes=None), 'field classes: None: expected a list'),
        (change_meta(classes=['a', 2]), r"field classes: \['a', 2\]: expected a list of names"),
        (change_meta(sensor_size=[12]), r'json: field sensor_size: \[12\]: expected \(height'),
        (change_meta(sensor_size=[12, 0]), r'field sensor_size: \[12, 0\]: expected \(height'),
        (change_meta(sensor_size=[12, '9']), r"field sensor_size: \[12, '9'\]: expected \(height"),
        (change_meta(sensor_size=[12, 1e999]), r'field sensor_size: \[12, inf\]: expected'),
        (
            lambda store: (store / 'meta.json').write_text('[' * 10**5),
            r'meta\.json: cannot be read',
        ),
        (lambda store: (store / 'events.bin').unlink(), r'events\.bin: cannot be read'),
        (lambda store: (store / 'manifest.csv').write_bytes(b'\xff'), r'manifest\.csv: cannot be'),
        (lambda store: (store / 'manifest.csv').unlink(), r'manifest\.csv: cannot be read'),
        (change_manifest('num_events', 'count'), r'manifest\.csv: cannot be read'),
        (change_manifest('b/1,1,', 'b/1,2,'), r'b/1: field label: 2: expected 0 to 1'),
        (change_manifest('a/2,0,12,', 'a/2,0,13,'), 'a/2: field offset: 13: expected 12'),
        (
            lambda store: (store / 'events.bin').write_bytes(bytes(100)),
            r'events\.bin: 100 bytes: expected \d+, as the manifest says',
        ),
    ],
)
def test_damage_is_told_by_file_and_field(store, damage, message):
    damage(store)
    with pytest.raises(EventError, match=message):
        EventStore(store)


def swap(first, second):
    """Changes two texts of the manifest for each other."""

    def change(store):
        text = (store / 'manifest.csv').read_text()
        assert first in text
        assert second in text
        parts = (part.replace(second, first) for part in text.split(first))
        (store / 'manifest.csv').write_text(second.join(parts))

    return change


@pytest.mark.parametrize(
    'change',
    [
        swap('a/2,0,', 'b/1,1,'),
        change_manifest('a/2,0,', 'a/2,1,'),
        change_meta(sensor_size=[12, 10]),
        change_meta(classes=['b', 'a']),
        change_meta(checksum='0'),
        change_meta(checksum=None),
    ],
)
def test_changed_labels_names_and_sensors_are_seen_at_opening(store, change):
    change(store)
    with pytest.raises(EventError, match=r'meta\.json: field checksum: .*prepare the store again'):
        EventStore(store)


def described(store):
    read = EventStore(store)
    return read.sensor_size, read.classes, read.recordings


@pytest.mark.parametrize('name', ['meta.json', 'manifest.csv'])
def test_any_changed_byte_of_the_description_is_seen_or_says_the_same(store, name):
    expected, content = described(store), (store / name).read_bytes()
    refused = 0
    for i in range(len(content)):
        for value in (0x31, content[i] ^ 1):
            (store / name).write_bytes(content[:i] + bytes([value]) + content[i + 1 :])
            try:
                assert described(store) == expected
            except EventError:
                refused += 1
    assert refused > 1.5 * len(content)


def without_checksum(store):
    """As the version before wrote it."""
    meta = json.loads((store / 'meta.json').read_text())
    del meta['checksum']
    (store / 'meta.json').write_text(json.dumps(meta, indent=1) + '\n')


def test_stores_without_a_checksum_of_their_manifest_open(store):
    expected = described(store)
    without_checksum(store)
    assert described(store) == expected
    EventStore(store).verify()
    assert StoreWriter(store, META, FILES).finished


def flip(store, place):
    content = bytearray((store / 'events.bin').read_bytes())
    content[place] ^= 1
    (store / 'events.bin').write_bytes(content)


def test_changed_events_are_found_by_their_checksum(store):
    flip(store, -10)
    with pytest.raises(EventError, match='b/2: field checksum: '):
        EventStore(store).verify()


def test_changed_events_are_seen_at_their_first_use(store):
    read = EventStore(store)
    whole = [read[i] for i in (0, 1)]
    flip(store, read.recordings[2].offset + 5)
    for opened in (EventStore(store), pickle.loads(pickle.dumps(read))):
        assert all(same(opened[i], whole[i]) for i in (0, 1))
        for _ in range(2):
            with pytest.raises(EventError, match=r'train: b/1: field checksum: .*: expected '):
                opened[2]
    assert len(EventStore(store, verify=False)[2]) == 7


def test_each_recording_is_verified_once(store, monkeypatch):
    read, verified = EventStore(store), []
    verify = EventStore.verify_recording
    monkeypatch.setattr(
        EventStore, 'verify_recording', lambda self, i: verified.append(i) or verify(self, i)
    )
    for i in (1, 3, 1, 1, 0, 3):
        read[i]
    assert verified == [1, 3, 0]


def test_a_sensor_without_the_events_pixels_is_seen_at_their_first_use(store):
    """In a store that has no checksum of its description, which would tell."""
    without_checksum(store)
    change_meta(sensor_size=[12, 4])(store)
    message = r'b/2: field x: \d at event \d+: expected 0 to 3 .sensor of height 12, width 4'
    with pytest.raises(EventError, match=message):
        EventStore(store)[3]
    with pytest.raises(EventError, match=r'train: .*: field x: '):
        EventStore(store).verify()


@pytest.mark.parametrize('line', [b'{}\n', b'5\n', b'{"recordings": [{}], "skipped": []}\n'])
def test_a_damaged_journal_is_named(tmp_path, line):
    write(tmp_path / 'train', stop=2)
    journal = tmp_path / '.train.part' / 'journal.jsonl'
    journal.write_bytes(line + journal.read_bytes())
    with pytest.raises(EventError, match=r'journal\.jsonl: cannot be read: .*remove the folder'):
        StoreWriter(tmp_path / 'train', META, FILES)
