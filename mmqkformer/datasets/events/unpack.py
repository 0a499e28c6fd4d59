"""Takes files out of archives that nobody has vouched for."""

import gzip
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from .stream import EventError

# What a member may unpack to. 134 million events of 8 bytes: two minutes at the highest rate of a
# DVS128, a million events a second
MAX_RECORDING = 2**30
# Labels and lists have some hundred lines, licences and notes a few thousand
MAX_TEXT = 2**20
# DvsGesture.tar.gz holds 122 recordings and their labels
MAX_MEMBERS = 10_000
_PIECE = 2**16
_GESTURE_FILE = re.compile(
    r'(?:\./)?DvsGesture/(trials_to_(?:train|test)\.txt|\w[\w-]*(?:\.aedat|_labels\.csv))', re.ASCII
)


@contextmanager
def damage_told_as(message: str) -> Iterator[None]:
    """Turns whatever a library raises at a damaged file into an ``EventError``.

    zipfile, tarfile, zlib and NumPy raise a dozen kinds of error, of struct and of memory among
    them.

    Args:
        message (str): File and what is wrong, before the library's own words.
    """
    try:
        yield
    except EventError:
        raise
    except Exception as error:
        raise EventError(f'{message}: {error!r}') from error


def read_zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: str) -> bytes:
    """Reads a member, a recording or an array, checked by its CRC.

    Args:
        archive (zipfile.ZipFile): The archive.
        info (zipfile.ZipInfo): The member.
        source (str): Archive and member, for messages.

    Raises:
        EventError: It is too large, compressed in a way whose expansion Python does not bound,
            encrypted or damaged.
    """
    if info.file_size > MAX_RECORDING:
        raise EventError(
            f'{source}: field size: unpacks to {info.file_size} bytes: expected at most '
            f'{MAX_RECORDING}'
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise EventError(
            f'{source}: field compression: method {info.compress_type}: expected 0 (stored) or 8 '
            '(deflated)'
        )
    with damage_told_as(f'{source}: cannot be read'), archive.open(info) as file:
        # Not read(): without a length it expands all there is before it cuts
        content = file.read(info.file_size)
    if len(content) != info.file_size:
        raise EventError(f'{source}: field size: {len(content)} bytes: expected {info.file_size}')
    return content


class _Pieces(gzip.GzipFile):
    """A stream for tarfile, which would read a header of any length, and all for a negative."""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _PIECE:
            raise tarfile.ReadError(f'a header of {size} bytes')
        return super().read(size)


def extract_gestures(archive: Path, folder: Path) -> None:
    """Extracts the recordings, labels and trial lists of ``DvsGesture.tar.gz``.

    Only regular files with the names of the layout are written, under their names alone; notes and
    the like are left out. The archive is read to its end, so that gzip's checksum covers all.

    Args:
        archive (Path): The archive.
        folder (Path): Empty folder to write into.

    Raises:
        EventError: The archive is damaged, or has a member that is no file or folder, that lies
            elsewhere, is too large, or is there twice; the message names it.
    """
    seen: set[str] = set()
    with (
        damage_told_as(f'{archive}: cannot be extracted'),
        _Pieces(archive) as stream,
        tarfile.open(fileobj=stream, mode='r:') as tar,
    ):
        for member in tqdm(tar, desc=f'extracting {archive.name}', unit='file'):
            source = f'{archive}: {member.name}'
            _check_member(member, source)
            found = _GESTURE_FILE.fullmatch(member.name)
            if len(tar.members) > MAX_MEMBERS:
                raise EventError(f'{source}: expected at most {MAX_MEMBERS} members')
            if not found or not member.isreg():
                continue
            name = found[1]
            if name.lower() in seen:
                raise EventError(f'{source}: is in the archive twice')
            seen.add(name.lower())
            with (
                damage_told_as(f'{source}: cannot be extracted'),
                tar.extractfile(member) as content,
                open(folder / name, 'xb') as file,
            ):
                shutil.copyfileobj(content, file, _PIECE)
        while rest := stream.read(_PIECE):
            if rest.strip(b'\0'):
                raise EventError(f'{archive}: cannot be extracted: data behind the last member')


def _check_member(member: tarfile.TarInfo, source: str) -> None:
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise EventError(
            f'{source}: cannot be extracted: field type: {member.type!r}: expected a file or a '
            'folder, no link and no device'
        )
    if member.name.startswith('/') or '..' in member.name.split('/'):
        raise EventError(f'{source}: cannot be extracted: expected a name inside DvsGesture')
    limit = MAX_RECORDING if member.name.endswith('.aedat') else MAX_TEXT
    if not 0 <= member.size <= limit:
        raise EventError(
            f'{source}: field size: unpacks to {member.size} bytes: expected at most {limit}'
        )
