"""Weights of public releases, renamed to this zoo's names.

Each family is one module of this folder, with a table, see :class:`Family`. All are imported.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..files import written_whole
from .reading import load_released
from .table import (
    FAMILIES,
    Family,
    UnknownCheckpointError,
    convert_state_dict,
    family_of,
    register_family,
)

__all__ = [
    'FAMILIES',
    'Family',
    'UnknownCheckpointError',
    'convert_file',
    'convert_state_dict',
    'family_of',
    'load_released',
    'read_released',
    'register_family',
]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f'{__name__}.{_module.name}')


def convert_file(source: str | Path, target: str | Path, use_ema: bool = False) -> dict:
    """Converts a released file to a checkpoint of this zoo.

    Args:
        source (str | Path): See :func:`load_released`.
        target (str | Path): File to write, under a temporary name first.
        use_ema (bool): See :func:`load_released`. Defaults to False.

    Returns:
        dict: What was written: ``meta`` with ``source``, the file's name, and ``family``, see
        :func:`family_of`; and ``state_dict``.

    Raises:
        FileNotFoundError: There is no such source.
        UnknownCheckpointError: The source is no released checkpoint; nothing is written.
    """
    checkpoint = _converted(source, load_released(source, use_ema))
    with written_whole(target) as partial:
        torch.save(checkpoint, partial)
    return checkpoint


def read_released(source: str | Path) -> dict | None:
    """Reads a file that may be a released one.

    Args:
        source (str | Path): A file.

    Returns:
        dict | None: What :func:`convert_file` would write; None if the file's names are of no
        family, or it cannot be read: then it is no released file, whatever else it may be.

    Raises:
        FileNotFoundError: There is no such file.
        UnknownCheckpointError: It is of a family, and damaged.
    """
    try:
        released = load_released(source)
        family_of([str(name).removeprefix('module.') for name in released])
    except UnknownCheckpointError:
        return None
    return _converted(source, released)


def _converted(source: str | Path, released: Mapping[str, Tensor]) -> dict:
    try:
        family, state_dict = convert_state_dict(released)
    except UnknownCheckpointError as error:
        raise UnknownCheckpointError(f'{source}: {error}') from error
    meta = {'source': Path(source).name, 'family': family}
    return {'meta': meta, 'state_dict': state_dict}
