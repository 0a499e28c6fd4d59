"""The preparation commands on archives of the original layouts."""

import csv
import io
import os
import runpy
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from event_streams import random_events, same
from spikingjelly.datasets.cifar10_dvs import CIFAR10DVS
from spikingjelly.datasets.dvs128_gesture import DVS128Gesture

from mmqkformer.datasets.events import EventError, Events
from mmqkformer.datasets.events import prepare as preparation
from mmqkformer.datasets.events.archives import read_windows
from mmqkformer.datasets.events.classes import CIFAR10, GESTURES
from mmqkformer.datasets.events.files import read_events
from mmqkformer.datasets.events.film import pack_tar, pack_zips
from mmqkformer.datasets.events.splits import released_split, stratified_split, write_list
from mmqkformer.datasets.events.store import EventStore
from mmqkformer.datasets.events.write_aedat import write_aedat2, write_aedat3

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ROOT / 'tools' / 'dataset_converters'
LISTS = ROOT / 'configs' / '_base_' / 'datasets' / 'splits'
SIZE = (128, 128)


@pytest.fixture
def prepare(monkeypatch):
    """Runs a command in this process, with one worker unless told otherwise."""

    def run(tool, *arguments):
        arguments = [str(argument) for argument in arguments]
        if '--workers' not in arguments:
            arguments += ['--workers', '1']
        monkeypatch.setattr(sys, 'argv', [tool, *arguments])
        runpy.run_path(str(TOOLS / tool), run_name='__main__')

    return run


@pytest.fixture(scope='module')
def cifar10dvs(tmp_path_factory):
    """Twelve recordings of each class."""
    root = tmp_path_factory.mktemp('cifar10dvs')
    for label, name in enumerate(CIFAR10):
        (root / name).mkdir()
        for i in range(12):
            events = random_events(20 + i, SIZE, seed=100 * label + i)
            write_aedat2(root / name / f'cifar10_{name}_{i}.aedat', events)
    return root


@pytest.fixture
def gestures(tmp_path):
    """Three recordings, two to train, of three gestures each."""
    folder = tmp_path / 'DvsGesture'
    folder.mkdir()
    for number, name in enumerate(('user01_led', 'user02_led', 'user03_lab')):
        write_aedat3(folder / f'{name}.aedat', random_events(900, SIZE, seed=number, last=1000))
        (folder / f'{name}_labels.csv').write_text(
            'class,startTime_usec,endTime_usec\n1,0,300\n11,290,500\n3,600,990\n'
        )
    (folder / 'trials_to_train.txt').write_text('user01_led.aedat\nuser02_led.aedat\n')
    (folder / 'trials_to_test.txt').write_text('user03_lab.aedat\n\n')
    return tmp_path


def contents(store):
    return {path.name: path.read_bytes() for path in sorted(store.iterdir())}


def test_cifar10dvs_as_the_release_splits_it(cifar10dvs, prepare, tmp_path, capsys):
    prepare('prepare_cifar10dvs.py', cifar10dvs, tmp_path / 'out')
    assert 'the split is not the published one' in capsys.readouterr().err
    train, test = (EventStore(tmp_path / 'out' / split) for split in ('train', 'test'))
    assert train.classes == CIFAR10
    assert (len(train), len(test)) == (110, 10)  # ceil(0.9 x 12) = 11 of each class
    # 9 is the last name as text: 0, 1, 10, 11, 2, ... 9
    assert [recording.file for recording in test.recordings] == [
        f'{name}/cifar10_{name}_9.aedat' for name in CIFAR10
    ]
    assert [recording.label for recording in train.recordings] == sorted(list(range(10)) * 11)
    events = random_events(29, SIZE, seed=309)
    assert same(test[3], Events(events.t - events.t[0], events.x, events.y, events.p, SIZE))
    train.verify()


def test_spikingjelly_prepares_the_same_events(cifar10dvs, prepare, tmp_path):
    (tmp_path / 'raw').mkdir()
    CIFAR10DVS.create_raw_from_extracted(cifar10dvs, tmp_path / 'raw')
    prepare('prepare_cifar10dvs.py', cifar10dvs, tmp_path / 'out')
    for split in ('train', 'test'):
        store = EventStore(tmp_path / 'out' / split)
        for recording, events in zip(store.recordings, store):
            raw = np.load(tmp_path / 'raw' / recording.file.replace('.aedat', '.npz'))
            assert np.array_equal(raw['t'].astype(int) - int(raw['t'][0]), events.t)
            assert all(np.array_equal(raw[name], getattr(events, name)) for name in 'xyp')


def test_zips_are_read_in_place(cifar10dvs, prepare, tmp_path):
    prepare('prepare_cifar10dvs.py', cifar10dvs, tmp_path / 'folders')
    zips = tmp_path / 'zips'
    zips.mkdir()
    for name in CIFAR10:
        (zips / name).symlink_to(cifar10dvs / name)
    pack_zips(zips)
    for name in CIFAR10:
        (zips / name).unlink()
        with zipfile.ZipFile(zips / f'{name}.zip', 'a') as archive:  # as macOS does
            archive.writestr(f'__MACOSX/{name}/._cifar10_{name}_0.aedat', b'attributes')
    prepare('prepare_cifar10dvs.py', zips, tmp_path / 'out', '--workers', '2')
    for split in ('train', 'test'):
        assert contents(tmp_path / 'out' / split) == contents(tmp_path / 'folders' / split)
    for path in zips.glob('*.zip'):
        content = path.read_bytes()
        path.unlink()
        (tmp_path / path.name).write_bytes(content[:500] if path.stem == 'cat' else content)
    with pytest.raises(SystemExit, match=r'error: .*cat\.zip: cannot be read'):
        prepare('prepare_cifar10dvs.py', tmp_path, tmp_path / 'bad')


def test_other_splits(cifar10dvs, prepare, tmp_path):
    prepare('prepare_cifar10dvs.py', cifar10dvs, tmp_path / 'a', '--split', 'stratified')
    prepare(
        'prepare_cifar10dvs.py', cifar10dvs, tmp_path / 'b', '--split', 'stratified', '--seed', 1
    )
    tests = [
        {recording.file for recording in EventStore(tmp_path / name / 'test').recordings}
        for name in 'ab'
    ]
    assert tests[0] != tests[1]
    assert all(len(files) == 10 for files in tests)
    listed = tmp_path / 'list.txt'
    listed.write_text('cat/cifar10_cat_3.aedat\ndog/cifar10_dog_0.aedat\n')
    prepare('prepare_cifar10dvs.py', cifar10dvs, tmp_path / 'c', '--split', listed)
    files = [recording.file for recording in EventStore(tmp_path / 'c' / 'test').recordings]
    assert files == listed.read_text().split()
    assert len(EventStore(tmp_path / 'c' / 'train')) == 118
    with pytest.raises(SystemExit, match=r'error: --split none\.txt: no such file'):
        prepare('prepare_cifar10dvs.py', cifar10dvs, tmp_path / 'd', '--split', 'none.txt')
    listed.write_text('cat/cifar10_cat_300.aedat\n')
    with pytest.raises(SystemExit, match=r'1 of 1 recordings of the split are missing.*cat_300'):
        prepare('prepare_cifar10dvs.py', cifar10dvs, tmp_path / 'd', '--split', listed)


@pytest.mark.parametrize('rule', ['released', 'stratified'])
def test_the_lists_of_the_repository_are_the_rules_results(rule, tmp_path):
    files = {name: [f'cifar10_{name}_{i}.aedat' for i in range(1000)] for name in CIFAR10}
    split = released_split(files) if rule == 'released' else stratified_split(files, seed=0)
    assert all(len(listed) == 900 for listed in split['train'].values())
    write_list(split, tmp_path / 'list.txt')
    assert (tmp_path / 'list.txt').read_text() == (LISTS / f'cifar10dvs_{rule}.txt').read_text()


def test_missing_class_shows_the_tree(tmp_path, prepare):
    with pytest.raises(SystemExit, match=r"error: .*no recordings of class 'airplane'; expected"):
        prepare('prepare_cifar10dvs.py', tmp_path, tmp_path / 'out')


@pytest.fixture
def damaged(cifar10dvs, tmp_path):
    """The archive with one truncated and one foreign recording."""
    root = tmp_path / 'damaged'
    root.mkdir()
    for name in CIFAR10:
        (root / name).symlink_to(cifar10dvs / name)
    for name in ('bird', 'ship'):
        (root / name).unlink()
        (root / name).mkdir()
        for path in (cifar10dvs / name).iterdir():
            (root / name / path.name).write_bytes(path.read_bytes())
    path = root / 'bird' / 'cifar10_bird_5.aedat'
    path.write_bytes(path.read_bytes()[:-3])
    (root / 'ship' / 'cifar10_ship_9.aedat').write_bytes(b'no recording')
    return root


def test_a_bad_file_stops_the_run_by_name(damaged, prepare, tmp_path):
    message = r'error: .*cifar10_bird_5\.aedat: field events.*truncated .--skip-bad'
    with pytest.raises(SystemExit, match=message):
        prepare('prepare_cifar10dvs.py', damaged, tmp_path / 'out')
    assert not (tmp_path / 'out' / 'train').exists()


def test_bad_files_are_skipped_and_counted(damaged, prepare, tmp_path, capsys):
    prepare('prepare_cifar10dvs.py', damaged, tmp_path / 'out', '--skip-bad')
    out, err = capsys.readouterr()
    assert '109 recordings' in out
    assert '9 recordings' in out
    assert out.count('1 bad files skipped') == 2
    assert 'skipped' in err
    listed = (tmp_path / 'out' / 'train' / 'skipped.csv').read_text()
    assert listed.startswith('file,reason\nbird/cifar10_bird_5.aedat,')
    assert len(EventStore(tmp_path / 'out' / 'test')) == 9


def test_a_repaired_archive_goes_on_where_it_stopped(damaged, cifar10dvs, prepare, tmp_path):
    with pytest.raises(SystemExit):
        prepare('prepare_cifar10dvs.py', damaged, tmp_path / 'out')
    for name in ('bird/cifar10_bird_5.aedat', 'ship/cifar10_ship_9.aedat'):
        (damaged / name).write_bytes((cifar10dvs / name).read_bytes())
    prepare('prepare_cifar10dvs.py', damaged, tmp_path / 'out')
    prepare('prepare_cifar10dvs.py', cifar10dvs, tmp_path / 'whole')
    for split in ('train', 'test'):
        assert contents(tmp_path / 'out' / split) == contents(tmp_path / 'whole' / split)


@pytest.mark.parametrize('kills', [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_killed_preparation_goes_on_to_the_same_bytes(cifar10dvs, prepare, tmp_path, kills):
    """SIGKILL while the store grows."""
    prepare('prepare_cifar10dvs.py', cifar10dvs, tmp_path / 'whole')
    slow = (
        'import sys, time\n'
        'from mmqkformer.datasets.events import store\n'
        'add = store.StoreWriter.add\n'
        'def slowly(self, recordings):\n'
        '    add(self, recordings)\n'
        '    time.sleep(0.05)\n'
        'store.StoreWriter.add = slowly\n'
        'import runpy\n'
        'sys.argv = sys.argv[1:]\n'
        'runpy.run_path(sys.argv[0], run_name="__main__")\n'
    )
    arguments = [str(TOOLS / 'prepare_cifar10dvs.py'), cifar10dvs, tmp_path / 'out']
    journal = tmp_path / 'out' / '.train.part' / 'journal.jsonl'
    done = 0
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, '-c', slow, *arguments, '--workers', '2'],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        while not (journal.exists() and journal.read_bytes().count(b'\n') >= done + 5):
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        before, done = done, journal.read_bytes().count(b'\n')
        assert before + 5 <= done < 110
    prepare('prepare_cifar10dvs.py', cifar10dvs, tmp_path / 'out', '--workers', '2')
    for split in ('train', 'test'):
        assert contents(tmp_path / 'out' / split) == contents(tmp_path / 'whole' / split)


@pytest.fixture
def own(tmp_path):
    """Eight good recordings of one's own, all to train, and one to test."""
    for split, count in (('train', 8), ('test', 1)):
        folder = tmp_path / 'own' / split / 'a'
        folder.mkdir(parents=True)
        for i in range(count):
            events = random_events(30 + i, SIZE, seed=i)
            np.savez(folder / f'{i}.npz', **{name: getattr(events, name) for name in 'txyp'})
    return tmp_path / 'own'


@pytest.fixture
def deadly(monkeypatch):
    """Reading the third recording kills the process, as the system does when memory is short."""

    def read(path, sensor_size):
        if Path(path).name == '3.npz':
            os.kill(os.getpid(), signal.SIGKILL)
        return read_events(path, sensor_size)

    with monkeypatch.context() as patch:
        patch.setattr(preparation, 'read_events', read)
        yield patch


@pytest.mark.parametrize('workers', [1, 3])
def test_a_file_that_kills_its_process_stops_the_run_by_name(
    own, prepare, deadly, tmp_path, workers
):
    arguments = (own, tmp_path / 'out', '--workers', workers)
    with pytest.raises(SystemExit, match=r'error: a/3\.npz: the process.*died.* .--skip-bad'):
        prepare('prepare_events.py', *arguments)
    journal = tmp_path / 'out' / '.train.part' / 'journal.jsonl'
    assert journal.read_bytes().count(b'\n') == 3  # what was read before stays
    deadly.undo()
    prepare('prepare_events.py', *arguments)
    prepare('prepare_events.py', own, tmp_path / 'whole')
    for split in ('train', 'test'):
        assert contents(tmp_path / 'out' / split) == contents(tmp_path / 'whole' / split)


@pytest.mark.parametrize('workers', [1, 3])
def test_a_file_that_kills_its_process_is_skipped(own, prepare, deadly, tmp_path, workers):
    prepare('prepare_events.py', own, tmp_path / 'out', '--workers', workers, '--skip-bad')
    store = EventStore(tmp_path / 'out' / 'train')
    assert [row.file for row in store.recordings] == [f'a/{i}.npz' for i in range(8) if i != 3]
    rows = (tmp_path / 'out' / 'train' / 'skipped.csv').read_text().splitlines()
    assert len(rows) == 2
    assert rows[1].startswith('a/3.npz,')


def test_files_that_are_bad_in_any_way_are_skipped(own, prepare, tmp_path):
    folder = own / 'train' / 'a'
    good = (folder / '0.npz').read_bytes()
    (folder / 'cut.npz').write_bytes(good[:-30])
    (folder / 'empty.npz').touch()
    (folder / 'folder.npz').mkdir()
    (folder / 'loop.npz').symlink_to('loop.npz')
    (folder / 'text.npz').write_text('no archive')
    np.savez_compressed(folder / 'objects.npz', **dict.fromkeys('txyp', np.array([print] * 3)))
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with (
            zipfile.ZipFile(folder / '0.npz') as plain,
            zipfile.ZipFile(folder / f'method{method}.npz', 'w', method) as packed,
        ):
            for name in plain.namelist():
                packed.writestr(name, plain.read(name))
    encrypted = bytearray(good)
    for mark, place in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        encrypted[good.find(mark) + place] |= 1
    (folder / 'encrypted.npz').write_bytes(encrypted)
    events = random_events(300, SIZE)
    np.savez_compressed(folder / 'damaged.npz', **{n: getattr(events, n) for n in 'txyp'})
    damaged = bytearray((folder / 'damaged.npz').read_bytes())
    damaged[60:160] = bytes(100)
    (folder / 'damaged.npz').write_bytes(damaged)
    bad = {path.name for path in folder.iterdir() if not path.stem.isdecimal()}
    assert len(bad) == 10
    prepare('prepare_events.py', own, tmp_path / 'out', '--skip-bad')
    assert len(EventStore(tmp_path / 'out' / 'train')) == 8
    with open(tmp_path / 'out' / 'train' / 'skipped.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert {row['file'] for row in rows} == {f'a/{name}' for name in bad}
    assert all(row['file'] in row['reason'] for row in rows)


def too_large():
    raise MemoryError


def test_a_file_that_is_too_large_for_the_memory_is_named(tmp_path):
    meta = dict(sensor_size=SIZE, classes=['a'])
    with pytest.raises(EventError, match=r'^a/1\.npz: cannot be read: MemoryError.*--skip-bad'):
        preparation.prepare_store(tmp_path / 'a', [preparation.Job('a/1.npz', too_large)], meta)
    with pytest.raises(EventError, match=r'a: .*surrogates not allowed: expected names in UTF-8'):
        preparation.prepare_store(tmp_path / 'a', [preparation.Job('\udcff', too_large)], meta)


@pytest.mark.parametrize('arguments', [('--workers', 0), ('--sensor-size', 0, 9)])
def test_numbers_below_one_are_refused(own, prepare, tmp_path, arguments, capsys):
    with pytest.raises(SystemExit):
        prepare('prepare_events.py', own, tmp_path / 'out', *arguments)
    assert f'{arguments[0]}: 0: expected an integer of at least 1' in capsys.readouterr().err


def test_dvs128gesture_by_its_own_lists(gestures, prepare, tmp_path):
    prepare('prepare_dvs128gesture.py', gestures, tmp_path / 'out')
    train, test = (EventStore(tmp_path / 'out' / split) for split in ('train', 'test'))
    assert train.classes == GESTURES
    assert [recording.file for recording in train.recordings] == [
        f'user0{user}_led/00{i}' for user in (1, 2) for i in range(3)
    ]
    assert [recording.label for recording in test.recordings] == [0, 10, 2]
    whole = random_events(900, SIZE, seed=2, last=1000)
    for events, (start, end) in zip(test, ((0, 300), (290, 500), (600, 990))):
        # The second window overlaps the first, as some of the data set do
        part = whole[(whole.t >= start) & (whole.t < end)]
        assert same(events, Events(part.t - part.t[0], part.x, part.y, part.p, SIZE))


def test_spikingjelly_prepares_the_same_gestures(gestures, prepare, tmp_path):
    (tmp_path / 'raw').mkdir()
    DVS128Gesture.create_raw_from_extracted(gestures, tmp_path / 'raw')
    prepare('prepare_dvs128gesture.py', gestures, tmp_path / 'out')
    for split in ('train', 'test'):
        store = EventStore(tmp_path / 'out' / split)
        for recording, events in zip(store.recordings, store):
            user = recording.file.split('/')[0]
            raw = np.load(tmp_path / 'raw' / split / str(recording.label) / f'{user}_0.npz')
            assert np.array_equal(raw['t'] - raw['t'][0], events.t)
            assert all(np.array_equal(raw[name], getattr(events, name)) for name in 'xyp')


@pytest.mark.parametrize('src', ['.', 'DvsGesture.tar.gz'])
def test_the_download_is_extracted_and_cleaned_up(gestures, prepare, tmp_path, src):
    prepare('prepare_dvs128gesture.py', gestures / 'DvsGesture', tmp_path / 'whole')
    pack_tar(gestures / 'DvsGesture')
    (gestures / 'DvsGesture').rename(tmp_path / 'away')
    prepare('prepare_dvs128gesture.py', gestures / src, tmp_path / 'out')
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['test', 'train']
    for split in ('train', 'test'):
        assert contents(tmp_path / 'out' / split) == contents(tmp_path / 'whole' / split)
    prepare('prepare_dvs128gesture.py', 'gone', tmp_path / 'out')  # complete: nothing to read


def test_an_archive_cannot_write_elsewhere(tmp_path, prepare):
    with tarfile.open(tmp_path / 'DvsGesture.tar.gz', 'w:gz') as archive:
        member = tarfile.TarInfo('../outside.txt')
        member.size = 3
        archive.addfile(member, io.BytesIO(b'abc'))
    with pytest.raises(SystemExit, match='cannot be extracted'):
        prepare('prepare_dvs128gesture.py', tmp_path, tmp_path / 'a' / 'b' / 'out')
    assert not list(tmp_path.rglob('outside.txt'))


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('trials_to_train.txt', r'trials_to_train\.txt: does not exist; expected'),
        ('trials_to_test.txt', r'trials_to_test\.txt: the list of the split is missing'),
        ('user02_led.aedat', r'user02_led\.aedat: cannot be read'),
        ('user03_lab_labels.csv', r'user03_lab_labels\.csv: the labels cannot be read'),
    ],
)
def test_what_is_missing_is_named(gestures, prepare, tmp_path, name, message):
    (gestures / 'DvsGesture' / name).unlink()
    with pytest.raises(SystemExit, match=f'error: .*{message}'):
        prepare('prepare_dvs128gesture.py', gestures, tmp_path / 'out')


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ('', 'expected a gesture a line'),
        ('0,1,2\n', 'line 2: field class: 0: expected 1 to 11'),
        ('1,1,2\n12,1,2\n', 'line 3: field class: 12: expected 1 to 11'),
        ('1,5,5\n', 'line 2: field endTime_usec: 5: expected more than startTime_usec=5'),
        ('1,x,5\n', "line 2: field startTime_usec: 'x': expected a number"),
        ('1,4\n', 'line 2: field endTime_usec: None: expected a number'),
        ('1,2,' + '9' * 5000, 'line 2: field endTime_usec: .*: expected a number'),
        ('1,2,9223372036854775808', 'line 2: field endTime_usec: .*: expected a number'),
        ('1,2,\u0663', 'line 2: field endTime_usec: .*: expected a number'),
        ('1,2,' + '"' + 'a' * 200_000 + '"', 'the labels cannot be read: .*field larger'),
    ],
)
def test_bad_labels_are_told_by_line_and_field(tmp_path, rows, message):
    path = tmp_path / 'labels.csv'
    path.write_text('class,startTime_usec,endTime_usec\n' + rows)
    with pytest.raises(EventError, match=rf'labels\.csv: {message}'):
        read_windows(path)


@pytest.mark.parametrize(
    'listed', [b'../user01_led.aedat', b'/etc/passwd', b'user01_led.csv', b'\xff\xfe.aedat', b'']
)
def test_a_list_of_trials_has_names_of_recordings(gestures, prepare, tmp_path, listed):
    (gestures / 'DvsGesture' / 'trials_to_test.txt').write_bytes(listed)
    with pytest.raises(SystemExit, match=r'error: .*trials_to_test\.txt: '):
        prepare('prepare_dvs128gesture.py', gestures, tmp_path / 'out')


def test_a_window_without_events_is_named(gestures, prepare, tmp_path):
    labels = gestures / 'DvsGesture' / 'user03_lab_labels.csv'
    labels.write_text(labels.read_text() + '4,5000,6000\n')
    message = r'user03_lab\.aedat: field t: no events from 5000 to 6000 us, gesture 3'
    with pytest.raises(SystemExit, match=message):
        prepare('prepare_dvs128gesture.py', gestures, tmp_path / 'out')


def test_own_recordings_in_folders(tmp_path, prepare):
    for split, count in (('train', 3), ('val', 1), ('test', 2)):
        for name in ('left', 'right'):
            folder = tmp_path / 'own' / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                events = random_events(30 + i, (20, 30))
                columns = {column: getattr(events, column) for column in 'txyp'}
                if i % 2:
                    np.savez(folder / f'{i}.npz', **columns)
                else:
                    write_aedat3(folder / f'{i}.aedat', events)
    size = ('--sensor-size', 20, 30)
    prepare('prepare_events.py', tmp_path / 'own', tmp_path / 'out', *size)
    stores = {name: EventStore(tmp_path / 'out' / name) for name in ('train', 'val', 'test')}
    assert {name: len(store) for name, store in stores.items()} == dict(train=6, val=2, test=4)
    assert stores['test'].classes == ('left', 'right')
    assert stores['test'].sensor_size == (20, 30)
    with pytest.raises(SystemExit, match='--split released leaves no recordings to test of 6'):
        prepare('prepare_events.py', tmp_path / 'own' / 'train', tmp_path / 'divided', *size)
    with pytest.raises(SystemExit, match=r'none: is no folder'):
        prepare('prepare_events.py', tmp_path / 'none', tmp_path / 'divided', *size)
    (tmp_path / 'own' / 'test' / 'up').mkdir()
    with pytest.raises(SystemExit, match=r"classes \['left', 'right', 'up'\]: expected those of"):
        prepare('prepare_events.py', tmp_path / 'own', tmp_path / 'more', *size)


def test_own_recordings_are_divided(cifar10dvs, tmp_path, prepare):
    prepare('prepare_events.py', cifar10dvs, tmp_path / 'out')
    assert len(EventStore(tmp_path / 'out' / 'test')) == 10
