"""AEDAT 2.0 and 3.1: SpikingJelly is the authority on whole files, and cut files invent nothing."""

import struct

import numpy as np
import pytest
from event_streams import quick, random_events, same, streams
from hypothesis import given
from spikingjelly.datasets.cifar10_dvs import _load_origin_data
from spikingjelly.datasets.utils import load_aedat_v3

from mmqkformer.datasets.events import EventError, Events
from mmqkformer.datasets.events.aedat import decode_aedat, read_aedat
from mmqkformer.datasets.events.files import read_events
from mmqkformer.datasets.events.write_aedat import AEDAT3_HEADER, write_aedat2, write_aedat3

WRITERS = {'2.0': write_aedat2, '3.1': write_aedat3}
AUTHORITIES = {'2.0': _load_origin_data, '3.1': load_aedat_v3}


@pytest.fixture(params=['2.0', '3.1'])
def version(request):
    return request.param


@quick
@given(events=streams())
def test_both_formats_give_back_what_was_written(tmp_path_factory, events):
    path = tmp_path_factory.mktemp('aedat') / 'a.aedat'
    for write in WRITERS.values():
        write(path, events)
        assert same(read_aedat(path, events.sensor_size), events)


def test_spikingjelly_reads_the_same(tmp_path, version):
    events = random_events(10_000, (128, 128))
    WRITERS[version](tmp_path / 'a.aedat', events)
    found = AUTHORITIES[version](tmp_path / 'a.aedat')
    for name in 'txyp':
        assert np.array_equal(found[name], getattr(events, name)), name
    assert same(read_aedat(tmp_path / 'a.aedat'), events)


def test_times_beyond_31_bits(tmp_path):
    events = random_events(100, last=2**32, first=2**31 - 1000)
    write_aedat3(tmp_path / 'a.aedat', events, packet_size=7)
    assert same(read_aedat(tmp_path / 'a.aedat', events.sensor_size), events)
    assert np.array_equal(load_aedat_v3(tmp_path / 'a.aedat')['t'], events.t)


def test_a_file_cut_at_any_byte_invents_nothing(tmp_path, version):
    events = random_events(40, (128, 128))
    if version == '2.0':
        write_aedat2(tmp_path / 'a.aedat', events)
    else:
        write_aedat3(tmp_path / 'a.aedat', events, packet_size=7)
    data = (tmp_path / 'a.aedat').read_bytes()
    prefixes = 0
    for end in range(len(data)):
        try:
            found = decode_aedat(data[:end], 'a.aedat')
        except EventError:
            continue
        # A cut between records, or between packets, cannot be told from a shorter recording
        assert same(found, events[: len(found)])
        prefixes += 1
    assert prefixes == (39 if version == '2.0' else 5)


def test_a_file_with_any_byte_changed_never_crashes(tmp_path, version):
    WRITERS[version](tmp_path / 'a.aedat', random_events(20, (128, 128)))
    data = bytearray((tmp_path / 'a.aedat').read_bytes())
    refused = 0
    for i in range(len(data)):
        for value in (0, 0x23, 0x7F, 0xFF):
            before, data[i] = data[i], value
            try:
                decode_aedat(bytes(data), 'a.aedat')
            except EventError:
                refused += 1
            data[i] = before
    assert refused > 50


def records2(*pairs):
    return b'#!AER-DAT2.0\r\n# a comment\r\n' + b''.join(struct.pack('>II', *p) for p in pairs)


def packet3(*words, kind=1, number=None, size=8, capacity=None, overflow=0, valid=0):
    number = len(words) // 2 if number is None else number
    capacity = len(words) // 2 if capacity is None else capacity
    header = struct.pack('<hhiiiiii', kind, 1, size, 4, overflow, capacity, number, valid)
    return header + struct.pack(f'<{len(words)}I', *words)


def test_external_events_are_no_pixels():
    events = decode_aedat(records2((0x7F00, 1), (0x8000, 2), (0x0001, 3)), 'a')
    assert events.t.tolist() == [1, 3]
    assert events.x.tolist() == [0, 127]
    assert events.y.tolist() == [127, 127]
    assert events.p.tolist() == [1, 0]


def test_invalid_events_and_other_packets_are_left_out():
    pixel = 3 << 17 | 5 << 2
    data = AEDAT3_HEADER + packet3(pixel | 3, 10, pixel, 11, pixel | 1, 12)
    data += packet3(1, 2, 3, kind=2, size=12, capacity=1, number=1)  # frames, say
    data += packet3(pixel | 3, 13)
    events = decode_aedat(data, 'a')
    assert events.t.tolist() == [10, 12, 13]
    assert events.p.tolist() == [1, 0, 1]
    assert set(events.x.tolist()) == {3}
    assert set(events.y.tolist()) == {5}


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'', r"a: field header: b'': expected #!AER-DAT"),
        (b'\x89PNG\r\n\x1a\n' + bytes(50), 'a: field header: .*expected #!AER-DAT'),
        (b'#!AER-DAT1.0\r\n', 'a: field version: .*1.0.*expected 2.0 or 3.1'),
        (records2(), 'a: no events'),
        (records2((1, 2)) + b'abc', r'a: field events: 11 bytes: expected a multiple of 8'),
        (records2((0x10000, 2)), 'a: field address: 0x10000 at event 0: expected at most 0xffff'),
        (records2((0, 5), (0, 4)), 'a: field t: 4 us at event 1 follows 5 us'),
        (b'#!AER-DAT3.1\r\n#!END', r'a: field header: expected .*END-HEADER.*truncated'),
        (AEDAT3_HEADER, 'a: no events'),
        (AEDAT3_HEADER + packet3(1, 2)[:20], 'a: packet 0: field header: 20 bytes: expected 28'),
        (AEDAT3_HEADER + packet3(1, 2)[:-1], 'a: packet 0: field events: 7 bytes: expected 8'),
        (AEDAT3_HEADER + packet3(1, 2, size=4), 'field eventSize: 4: expected 8'),
        (AEDAT3_HEADER + packet3(1, 2, capacity=-1), 'field eventCapacity: -1: expected 0'),
        (AEDAT3_HEADER + packet3(1, 2, number=2), 'field eventNumber: 2: expected 0 to event'),
        (AEDAT3_HEADER + packet3(1, 2, valid=2), 'field eventValid: 2: expected 0 to eventNum'),
        (AEDAT3_HEADER + packet3(1, 2, overflow=-1), 'field eventTSOverflow: -1: expected 0'),
        (AEDAT3_HEADER + packet3(1 | 128 << 17, 2), 'a: field x: 128 at event 0: expected 0'),
    ],
)
def test_foreign_and_damaged_files_are_told_by_field(data, message):
    with pytest.raises(EventError, match=message):
        decode_aedat(data, 'a')


def test_a_smaller_sensor_bounds_the_pixels(tmp_path):
    events = random_events(50, (34, 34))
    write_aedat2(tmp_path / 'a.aedat', events)
    assert same(read_aedat(tmp_path / 'a.aedat', (34, 34)), events)
    with pytest.raises(EventError, match=r'expected 0 to 9 .sensor of height 34, width 10'):
        read_aedat(tmp_path / 'a.aedat', (34, 10))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(EventError, match=r'none\.aedat: cannot be read'):
        read_aedat(tmp_path / 'none.aedat')


def test_what_a_format_cannot_hold_is_refused(tmp_path):
    with pytest.raises(EventError, match='field x, y: 200: expected at most 128'):
        write_aedat2(tmp_path / 'a.aedat', random_events(5, (200, 100)))
    with pytest.raises(EventError, match=r'field t: .*expected at most 4294967296'):
        write_aedat2(tmp_path / 'a.aedat', random_events(5, first=2**32))
    assert not list(tmp_path.iterdir())


def test_npz_files_of_spikingjelly(tmp_path):
    events = random_events(30)
    columns = {name: getattr(events, name) for name in 'txyp'}
    np.savez(tmp_path / 'a.npz', **columns)
    assert same(read_events(tmp_path / 'a.npz', events.sensor_size), events)
    for name in 'txyp':
        np.savez(tmp_path / 'b.npz', **{k: v for k, v in columns.items() if k != name})
        with pytest.raises(EventError, match=rf'b\.npz: field {name}: is missing'):
            read_events(tmp_path / 'b.npz', events.sensor_size)
    np.savez(tmp_path / 'c.npz', **{**columns, 'p': np.array([print] * 30)})
    with pytest.raises(EventError, match=r'c\.npz: is no \.npz file of numbers'):
        read_events(tmp_path / 'c.npz', events.sensor_size)
    for end in (0, 10, 200, -5):
        (tmp_path / 'd.npz').write_bytes((tmp_path / 'a.npz').read_bytes()[:end])
        with pytest.raises(EventError, match=r'd\.npz: '):
            read_events(tmp_path / 'd.npz', events.sensor_size)
    with pytest.raises(EventError, match=r"field suffix: '\.txt': expected one of"):
        read_events(tmp_path / 'e.txt')


def test_events_are_columns():
    assert isinstance(decode_aedat(records2((0, 1)), 'a'), Events)
