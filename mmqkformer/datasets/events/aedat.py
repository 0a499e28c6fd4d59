"""Readers of AEDAT 2.0 (CIFAR10-DVS) and AEDAT 3.1 (DVS128 Gesture)."""

import struct
from pathlib import Path

import numpy as np

from .stream import EventError, Events

DVS128 = (128, 128)
_PACKET = struct.Struct('<hhiiiiii')
_PACKET_FIELDS = (
    'eventType',
    'eventSource',
    'eventSize',
    'eventTSOffset',
    'eventTSOverflow',
    'eventCapacity',
    'eventNumber',
    'eventValid',
)
_POLARITY = 1


def read_aedat(path: str | Path, sensor_size: tuple[int, int] = DVS128) -> Events:
    """Reads a file of either format.

    Args:
        path (str | Path): The file.
        sensor_size (tuple[int, int]): Height and width. Defaults to 128 x 128.

    Returns:
        Events: Its valid events.

    Raises:
        EventError: The file cannot be read, is truncated or foreign, or its events cannot come
            from the sensor; the message names file and field.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise EventError(f'{path}: cannot be read: {error.strerror}') from error
    return decode_aedat(data, str(path), sensor_size)


def decode_aedat(data: bytes, name: str, sensor_size: tuple[int, int] = DVS128) -> Events:
    """Decodes the bytes of a file; see :func:`read_aedat`.

    Args:
        data (bytes): Contents of the file.
        name (str): Its name, for messages.
        sensor_size (tuple[int, int]): Height and width. Defaults to 128 x 128.
    """
    first, version, _ = data[:14].partition(b'#!AER-DAT')
    if first or not version:
        raise EventError(f'{name}: field header: {data[:14]!r}: expected #!AER-DAT2.0 or 3.1')
    decoders = {b'2.0': _decode_aedat2, b'3.1': _decode_aedat3}
    decode = decoders.get(data[9:12])
    if decode is None or data[12:13] not in (b'\r', b'\n'):
        raise EventError(
            f'{name}: field version: {data[9:13]!r}: expected 2.0 or 3.1 and the end of the line'
        )
    t, x, y, p = decode(data, name)
    return Events(t, x, y, p, tuple(sensor_size)).checked(name)


def _decode_aedat2(data: bytes, name: str) -> tuple[np.ndarray, ...]:
    """Records of a big-endian address and time; see ``write_aedat2`` for the address."""
    begin = 0
    while data[begin : begin + 1] == b'#':
        end = data.find(b'\n', begin)
        if end < 0:
            raise EventError(f'{name}: field header: ends inside a line: the file is truncated')
        begin = end + 1
    if (len(data) - begin) % 8:
        raise EventError(
            f'{name}: field events: {len(data) - begin} bytes: expected a multiple of 8: the file '
            'is truncated'
        )
    records = np.frombuffer(data, '>u4', offset=begin).reshape(-1, 2)
    address = records[:, 0].astype(np.uint32)
    foreign = np.flatnonzero(address >> 16)
    if len(foreign):
        i = int(foreign[0])
        raise EventError(
            f'{name}: field address: {int(address[i]):#x} at event {i}: expected at most 0xffff, '
            'a DVS128'
        )
    pixels = address < 0x8000  # the others are of the camera's external input
    address = address[pixels]
    return (
        records[pixels, 1].astype(np.int64),
        (127 - (address >> 8 & 0x7F)).astype(np.uint16),
        (127 - (address >> 1 & 0x7F)).astype(np.uint16),
        (1 - (address & 1)).astype(np.uint8),
    )


def _decode_aedat3(data: bytes, name: str) -> tuple[np.ndarray, ...]:
    """Packets with a header each; only valid events of packets of polarity events are kept."""
    mark = b'#!END-HEADER\r\n'
    begin = data.find(mark)
    if begin < 0:
        raise EventError(f'{name}: field header: expected {mark!r}: the file is truncated')
    begin += len(mark)
    times, words = [np.empty(0, np.int64)], [np.empty(0, np.uint32)]
    number = 0
    while begin < len(data):
        packet = f'{name}: packet {number}'
        if len(data) - begin < _PACKET.size:
            raise EventError(
                f'{packet}: field header: {len(data) - begin} bytes: expected {_PACKET.size}: the '
                'file is truncated'
            )
        fields = dict(zip(_PACKET_FIELDS, _PACKET.unpack_from(data, begin)))
        begin += _PACKET.size
        _check_packet(fields, packet)
        size = fields['eventCapacity'] * fields['eventSize']
        if len(data) - begin < size:
            raise EventError(
                f'{packet}: field events: {len(data) - begin} bytes: expected {size}: the file is '
                'truncated'
            )
        if fields['eventType'] == _POLARITY:
            records = np.frombuffer(data, '<u4', fields['eventNumber'] * 2, begin).reshape(-1, 2)
            records = records[records[:, 0] & 1 == 1]
            times.append(records[:, 1].astype(np.int64) | fields['eventTSOverflow'] << 31)
            words.append(records[:, 0])
        begin += size
        number += 1
    word = np.concatenate(words)
    return (
        np.concatenate(times),
        (word >> 17).astype(np.uint16),
        (word >> 2 & 0x7FFF).astype(np.uint16),
        (word >> 1 & 1).astype(np.uint8),
    )


def _check_packet(fields: dict[str, int], packet: str) -> None:
    polarity = fields['eventType'] == _POLARITY
    expected = {
        'eventType': (fields['eventType'] >= 0, '0 or more'),
        'eventSize': (fields['eventSize'] == 8 if polarity else fields['eventSize'] > 0, '8'),
        'eventTSOffset': (not polarity or fields['eventTSOffset'] == 4, '4'),
        'eventTSOverflow': (fields['eventTSOverflow'] >= 0, '0 or more'),
        'eventCapacity': (fields['eventCapacity'] >= 0, '0 or more'),
        'eventNumber': (
            0 <= fields['eventNumber'] <= fields['eventCapacity'],
            f'0 to eventCapacity={fields["eventCapacity"]}',
        ),
        'eventValid': (
            0 <= fields['eventValid'] <= fields['eventNumber'],
            f'0 to eventNumber={fields["eventNumber"]}',
        ),
    }
    for name, (fits, words) in expected.items():
        if not fits:
            raise EventError(f'{packet}: field {name}: {fields[name]}: expected {words}')
