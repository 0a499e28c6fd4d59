"""Archives that were made to harm, or were damaged on the way, are refused by name."""

import gzip
import io
import os
import re
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from event_streams import random_events, same

from mmqkformer.datasets.events import EventError, archives, unpack
from mmqkformer.datasets.events.archives import extract_dvs128gesture, find_cifar10dvs
from mmqkformer.datasets.events.files import read_events
from mmqkformer.datasets.events.write_aedat import write_aedat2, write_aedat3

SIZE = (128, 128)
LISTS = {
    'DvsGesture/trials_to_train.txt': b'user01_led.aedat\n',
    'DvsGesture/trials_to_test.txt': b'user02_led.aedat\n',
}


def regular(name, content=b'abc'):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def special(name, kind, link='', size=0):
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member, b''


def tar_of(path, members, lists=True):
    """A ``DvsGesture.tar.gz`` of the two lists and some members."""
    with tarfile.open(path, 'w:gz') as archive:
        listed = [regular(*item) for item in LISTS.items()] if lists else []
        for member, content in [*listed, *members]:
            archive.addfile(member, io.BytesIO(content) if content else None)
    return path


def long_way_out(up, name):
    """The members of CVE-2025-4517: a path of links that is too long to be resolved, and checked.

    Each link is a short name of a folder with a long one, so that the short path has 16 letters and
    the true one more than PATH_MAX allows: what lies behind passes as a file inside.
    """
    folder, steps, at = 'd' * 247, 'abcdefghijklmnop', ''
    for step in steps:
        yield special(os.path.join(at, folder), tarfile.DIRTYPE)
        yield special(os.path.join(at, step), tarfile.SYMTYPE, folder)
        at = os.path.join(at, folder)
    link = f'{"/".join(steps)}/{"l" * 254}'
    yield special(link, tarfile.SYMTYPE, '../' * len(steps))
    yield special('escape', tarfile.SYMTYPE, f'{link}/{"../" * up}')
    yield special('hard', tarfile.LNKTYPE, f'escape/{name}')
    yield regular('hard', b'overwritten')
    yield regular('escape/created.txt', b'created')


def test_a_chain_of_links_beyond_path_max_cannot_write_elsewhere(tmp_path):
    (tmp_path / 'mine.txt').write_text('mine')
    archive = tar_of(tmp_path / 'DvsGesture.tar.gz', long_way_out(2, 'mine.txt'))
    with pytest.raises(
        EventError, match=r'DvsGesture\.tar\.gz: a: cannot be extracted: field type'
    ):
        extract_dvs128gesture(archive, tmp_path / 'out')
    assert (tmp_path / 'mine.txt').read_text() == 'mine'
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*'))
    assert names == ['DvsGesture.tar.gz', 'mine.txt', 'out']


@pytest.mark.parametrize(
    ('members', 'message'),
    [
        ([special('DvsGesture/user01_led.aedat', tarfile.SYMTYPE, '/etc/passwd')], 'field type'),
        ([special('DvsGesture/a.aedat', tarfile.LNKTYPE, 'DvsGesture/b.aedat')], 'field type'),
        ([special('DvsGesture/a.aedat', tarfile.FIFOTYPE)], 'field type'),
        ([special('DvsGesture/a.aedat', tarfile.CHRTYPE)], 'field type'),
        ([special('DvsGesture', tarfile.SYMTYPE, '..')], 'field type'),
        ([regular('/tmp/a.aedat')], 'expected a name inside DvsGesture'),
        ([regular('DvsGesture/../a.aedat')], 'expected a name inside DvsGesture'),
        ([regular('DvsGesture/a.aedat')] * 2, 'is in the archive twice'),
        ([regular('DvsGesture/a.aedat'), regular('DvsGesture/A.aedat')], 'in the archive twice'),
        ([special('DvsGesture/a.aedat', tarfile.REGTYPE, size=-512)], 'unpacks to -512 bytes'),
        ([special('DvsGesture/a.aedat', tarfile.REGTYPE, size=2**34)], 'expected at most 10737'),
        ([regular('DvsGesture/notes.txt', bytes(2**20 + 1))], 'unpacks to 1048577 bytes'),
        ([special('DvsGesture/a', tarfile.GNUTYPE_SPARSE)], 'field type'),
    ],
)
def test_members_that_are_no_files_of_the_layout_are_refused(tmp_path, members, message):
    archive = tar_of(tmp_path / 'DvsGesture.tar.gz', members)
    with pytest.raises(EventError, match=rf'DvsGesture\.tar\.gz: .*{message}'):
        extract_dvs128gesture(archive, tmp_path / 'out')
    assert not list((tmp_path / 'out').iterdir())


def test_only_files_of_the_layout_are_extracted(tmp_path):
    names = ['user01_led.aedat', 'user01_led_labels.csv', 'trials_to_train.txt']
    others = ['README.txt', '._user01_led.aedat', 'sub/user02_led.aedat', 'run.sh', 'a b.aedat']
    members = [regular(f'DvsGesture/{name}', name.encode()) for name in (*names, *others)]
    members += [regular('._DvsGesture'), special('DvsGesture', tarfile.DIRTYPE)]
    tar_of(tmp_path / 'DvsGesture.tar.gz', members, lists=False)
    folder = extract_dvs128gesture(tmp_path, tmp_path / 'out')
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert found == {name: name.encode() for name in names}


def test_an_extraction_that_was_killed_is_begun_anew(tmp_path, gestures):
    content, files = gestures
    partial = tmp_path / 'again' / 'out' / '.DvsGesture.part'
    (partial / 'DvsGesture').mkdir(parents=True)
    (partial / 'DvsGesture' / 'user01_led.aedat').write_bytes(b'half')
    (partial / 'DvsGesture' / 'trials_to_train.txt').symlink_to(tmp_path / 'elsewhere')
    assert extracted(content, tmp_path / 'again') == files
    assert not (tmp_path / 'elsewhere').exists()
    assert not partial.exists()


def test_an_archive_of_too_many_members_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, 'MAX_MEMBERS', 20)
    archive = tar_of(tmp_path / 'DvsGesture.tar.gz', [regular(f'{i}.txt') for i in range(30)])
    with pytest.raises(EventError, match='expected at most 20 members'):
        extract_dvs128gesture(archive, tmp_path / 'out')


@pytest.fixture
def gestures(tmp_path):
    """A small archive as downloaded; its bytes and those of its files."""
    write_aedat3(tmp_path / 'a.aedat', random_events(60, SIZE))
    files = {**LISTS, 'DvsGesture/user01_led.aedat': (tmp_path / 'a.aedat').read_bytes()}
    path = tar_of(tmp_path / 'DvsGesture.tar.gz', map(regular, files, files.values()), lists=False)
    return path.read_bytes(), {name.split('/')[1]: content for name, content in files.items()}


def extracted(content, folder):
    """The files that an archive gives, or None if it is refused."""
    folder.mkdir(exist_ok=True)
    (folder / 'DvsGesture.tar.gz').write_bytes(content)
    try:
        found = extract_dvs128gesture(folder, folder / 'out')
    except EventError as error:
        assert str(folder / 'DvsGesture.tar.gz') in str(error)  # noqa: PT017
        return None
    return {path.name: path.read_bytes() for path in found.iterdir()}


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path, gestures):
    content, files = gestures
    rng = np.random.default_rng(0)
    refused = 0
    for i, place in enumerate(rng.choice(len(content) * 8, 80, replace=False)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        found = extracted(bytes(flipped), tmp_path / str(i))
        refused += found is None
        assert found in (None, files), place
    assert refused >= 75  # only the time and the name in gzip's header are free


def test_what_lies_behind_the_archive(tmp_path, gestures):
    content, files = gestures
    for i, rest in enumerate((b'rest', gzip.compress(b'rest'), content, b'\0\0rest')):
        assert extracted(content + rest, tmp_path / f'refused{i}') is None
    for i, rest in enumerate((b'', bytes(700), gzip.compress(bytes(512)))):
        assert extracted(content + rest, tmp_path / f'taken{i}') == files
    for end in (0, 5, len(content) // 2, len(content) - 8, len(content) - 1):
        assert extracted(content[:end], tmp_path / f'cut{end}') is None


def peak_of(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_header_of_any_length_is_not_read_whole(tmp_path):
    """A long name of GNU's, whose length is another header's word."""
    header = tarfile.TarInfo('././@LongLink')
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**26
    with gzip.open(tmp_path / 'DvsGesture.tar.gz', 'wb', compresslevel=1) as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            file.write(bytes(2**20))

    def refused():
        with pytest.raises(EventError, match='a header of 67108864 bytes'):
            extract_dvs128gesture(tmp_path, tmp_path / 'out')

    assert peak_of(refused) < 2**21


@pytest.fixture
def airplanes(tmp_path, monkeypatch):
    """Writes ``airplane.zip``, may change its bytes, and gives the loading of its recordings."""
    monkeypatch.setattr(archives, 'CIFAR10', ('airplane',))
    numbers = iter(range(1000))

    def write(contents, change=None, **kwargs):
        folder = tmp_path / f'zips{next(numbers)}'
        folder.mkdir()
        with zipfile.ZipFile(folder / 'airplane.zip', 'w', **kwargs) as archive:
            for name, content in contents:
                archive.writestr(f'airplane/{name}.aedat', content)
        if change:
            path = folder / 'airplane.zip'
            path.write_bytes(change(bytearray(path.read_bytes())))
        return lambda: [job.load() for job in find_cifar10dvs(folder, SIZE)['airplane'].values()]

    return write


def headers(field, local, central, kind='<H'):
    """Sets a field in the headers of all members: before each, and in the directory at the end."""

    def change(content, value):
        for mark, place in ((b'PK\x03\x04', local), (b'PK\x01\x02', central)):
            for found in re.finditer(re.escape(mark), content):
                struct.pack_into(kind, content, found.start() + place, value)
        return bytes(content)

    change.__name__ = field
    return change


FLAGS = headers('flags', 6, 8)
METHOD = headers('method', 8, 10)
UNPACKED = headers('unpacked', 22, 24, '<I')


@pytest.fixture
def recording(tmp_path):
    """The bytes of an AEDAT 2.0 file and its events."""
    events = random_events(200, SIZE)
    write_aedat2(tmp_path / 'recording.aedat', events)
    return (tmp_path / 'recording.aedat').read_bytes(), events


@pytest.mark.parametrize(
    ('change', 'kwargs', 'message'),
    [
        (lambda zipped: FLAGS(zipped, 1), {}, 'cannot be read: .*encrypted'),
        (lambda zipped: METHOD(zipped, 99), {}, 'field compression: method 99: expected 0 .stored'),
        (None, dict(compression=zipfile.ZIP_BZIP2), 'field compression: method 12: expected'),
        (None, dict(compression=zipfile.ZIP_LZMA), 'field compression: method 14: expected'),
        (
            lambda zipped: UNPACKED(zipped, 2**32 - 2),
            {},
            'field size: unpacks to 4294967294 bytes: ex',
        ),
        (lambda zipped: UNPACKED(zipped, 100), {}, 'cannot be read: .*Bad CRC-32'),
        (lambda zipped: UNPACKED(zipped, 2**20), {}, 'cannot be read|field size'),
    ],
)
def test_odd_members_of_a_zip_are_named(airplanes, recording, change, kwargs, message):
    load = airplanes([('a', recording[0])], change, **kwargs)
    with pytest.raises(EventError, match=rf'airplane\.zip: airplane/a\.aedat: {message}'):
        load()


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_a_recording_that_is_in_the_zip_twice_is_refused(airplanes, recording):
    load = airplanes([('a', recording[0]), ('a', recording[0])])
    with pytest.raises(EventError, match=r'airplane\.zip: a\.aedat: is in the archive 2 times'):
        load()


def test_a_zip_bomb_is_not_unpacked(airplanes):
    """64 MB of zeros: of which the directory owns up to all, or to a thousand bytes."""
    bomb = bytes(2**26)
    honest = airplanes([('a', bomb)], compression=zipfile.ZIP_DEFLATED)
    liar = airplanes([('a', bomb)], lambda zipped: UNPACKED(zipped, 1000), compression=8)
    del bomb

    def refused(load, message):
        with pytest.raises(EventError, match=message):
            load()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpack, 'MAX_RECORDING', 2**25)
        assert peak_of(lambda: refused(honest, 'unpacks to 67108864 bytes')) < 2**21
    assert peak_of(lambda: refused(liar, 'Bad CRC-32')) < 2**21


def flips(content, count, seed=0):
    """Copies of some bytes with one of them changed."""
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, len(content), count):
        changed = bytearray(content)
        changed[place] ^= int(rng.integers(1, 256))
        yield int(place), bytes(changed)


@pytest.mark.parametrize('compression', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_changed_byte_of_a_zip_is_refused_or_changes_nothing(airplanes, recording, compression):
    content, events = recording
    refused = 0
    for seed in range(300):
        load = airplanes(
            [('a', content)],
            lambda zipped, seed=seed: next(flips(zipped, 1, seed))[1],
            compression=compression,
        )
        try:
            (((_, _, found),),) = load()
        except EventError as error:
            assert 'airplane' in str(error)  # noqa: PT017
            refused += 1
        else:
            assert same(found, events)
    assert 200 < refused < 300


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_a_changed_byte_of_an_npz_is_refused_or_changes_nothing(tmp_path, save):
    events = random_events(60)
    path = tmp_path / 'a.npz'
    save(path, **{name: getattr(events, name) for name in 'txyp'})
    refused = 0
    for place, content in flips(path.read_bytes(), 300):
        path.write_bytes(content)
        try:
            found = read_events(path, events.sensor_size)
        except EventError as error:
            assert str(error).startswith(str(path))  # noqa: PT017
            refused += 1
        else:
            assert same(found, events), place
    assert 200 < refused < 300


def npz_of(path, **members):
    """An ``.npz`` file of members as they are; the columns that are not given are good ones."""
    events = random_events(20)
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name in 'txyp':
            good = io.BytesIO()
            np.save(good, getattr(events, name))
            archive.writestr(f'{name}.npy', members.get(name, good.getvalue()))
    return path


def npy(shape, kind="'<i8'", content=bytes(160), version=b'\x01\x00'):
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    length = len(header).to_bytes(2 if version[0] == 1 else 4, 'little')
    return b'\x93NUMPY' + version + length + header + content


def test_an_array_is_as_large_as_its_file(tmp_path):
    assert len(read_events(npz_of(tmp_path / 'a.npz', t=npy('(20,)')), (12, 9))) == 20
    version = npy('(20,)', version=b'\x02\x00')
    assert len(read_events(npz_of(tmp_path / 'b.npz', t=version), (12, 9))) == 20
    for content, message in (
        (npy('(1000000000000,)'), 'numbers: field t: .*cannot reshape'),
        (npy('(-1,)', content=b''), 'field t'),
        (npy('(20,)', "'|O'"), 'field t: .*OBJECT'),
        (npy('(20,)', "'<U0'"), 'field t'),
        (npy('(20,)', "'<M8[us]'"), 'field t: datetime64'),
        (npy('(4, 5)'), r'field t: int64 of shape \(4, 5\)'),
        (npy('(20,)', version=b'\x03\x00'), 'field t'),
        (npy('(' * 3000 + ')' * 3000), 'field t'),
        (b'', 'field t'),
    ):
        path = npz_of(tmp_path / 'c.npz', t=content)
        with pytest.raises(EventError, match=rf'c\.npz: .*{message}'):
            read_events(path, (12, 9))


def test_members_of_an_npz_are_capped(tmp_path):
    path = npz_of(tmp_path / 'a.npz')
    path.write_bytes(UNPACKED(bytearray(path.read_bytes()), 2**32 - 2))
    with pytest.raises(EventError, match=r'a\.npz: t\.npy: field size: unpacks to 4294967294'):
        read_events(path, (12, 9))


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_a_column_that_is_there_twice_is_refused(tmp_path):
    path = npz_of(tmp_path / 'a.npz')
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('x.npy', archive.read('x.npy'))
    with pytest.raises(EventError, match=r'a\.npz: field x: is there 2 times'):
        read_events(path, (12, 9))
