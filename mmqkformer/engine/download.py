"""Files from the web: fetched once, whole, and checked against the hash in their name."""

import fcntl
import hashlib
import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import torch
from mmengine.logging import print_log
from tqdm import tqdm

from ..files import written_whole

TIMEOUT = 60.0  # seconds without an answer
_BLOCK = 1 << 20
# OpenMMLab's names of published files end in a hash; a date is none
_HASH = re.compile(r'-(?!20\d{6}\.)([0-9a-f]{8})\.pth$')


def download(address: str) -> Path:
    """The local copy of a file on the web, fetched at the first call.

    Copies are kept in PyTorch's folder, ``torch.hub.get_dir()``, by address. Of several processes
    on a machine the first one fetches and the others wait for it.

    Args:
        address (str): ``http://`` or ``https://`` address. A name that ends in a hash, as
            ``tiny-1a2b3c4d.pth``, gives the first digits of the file's sha256.

    Returns:
        Path: The file.

    Raises:
        ConnectionError: The server does not answer, has no such file, or breaks off.
        ValueError: The hash is another.
    """
    key = hashlib.sha256(address.encode()).hexdigest()[:16]
    path = Path(torch.hub.get_dir()) / 'checkpoints' / f'{key}.pth'
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix('.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            try:
                _fetch(address, path)
            except (
                urllib.error.URLError,
                http.client.HTTPException,
                ConnectionError,
                TimeoutError,
            ) as error:
                raise ConnectionError(f'checkpoint {address!r}: {error}') from error
    print_log(f'{address} is kept as {path}', logger='current')
    return path


def _fetch(address: str, path: Path) -> None:
    request = urllib.request.Request(address, headers={'User-Agent': 'mmqkformer'})
    digest = hashlib.sha256()
    with (
        urllib.request.urlopen(request, timeout=TIMEOUT) as response,
        written_whole(path) as partial,
        open(partial, 'wb') as file,
        tqdm(total=response.length, unit='B', unit_scale=True, disable=None) as bar,
    ):
        size = response.length
        while block := response.read(_BLOCK):
            file.write(block)
            digest.update(block)
            bar.update(len(block))
        if size is not None and file.tell() != size:
            raise ConnectionError(f'broke off after {file.tell()} of {size} bytes')
        stated = _HASH.search(urlsplit(address).path)
        if stated and not digest.hexdigest().startswith(stated[1]):
            raise ValueError(
                f'checkpoint {address!r}: sha256 {digest.hexdigest()[:8]}..., expected {stated[1]}'
            )
