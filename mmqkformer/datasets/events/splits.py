"""Which recordings train and which test."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .stream import EventError

RULES = ('released', 'stratified')
Split = dict[str, dict[str, list[str]]]


def released_split(files: Mapping[str, Sequence[str]]) -> Split:
    """The public release's protocol for CIFAR10-DVS.

    Of each class the first ``ceil(0.9 n)`` files in the order of their names as text train, the
    others test.

    Args:
        files (Mapping[str, Sequence[str]]): File names of each class.

    Returns:
        dict: ``train`` and ``test``, each with the file names of each class, in order.
    """
    return _cut({name: sorted(listed) for name, listed in files.items()})


def stratified_split(files: Mapping[str, Sequence[str]], seed: int) -> Split:
    """As :func:`released_split`, but of files in random order.

    Class c is shuffled by NumPy's generator of the seed ``(seed, c)``.

    Args:
        files (Mapping[str, Sequence[str]]): File names of each class.
        seed (int): The seed.
    """
    shuffled = {}
    for number, (name, listed) in enumerate(files.items()):
        order = np.random.default_rng((seed, number)).permutation(len(listed))
        shuffled[name] = [sorted(listed)[i] for i in order]
    return _cut(shuffled)


def _cut(files: dict[str, list[str]]) -> Split:
    split: Split = {'train': {}, 'test': {}}
    for name, listed in files.items():
        trained = math.ceil(0.9 * len(listed))
        split['train'][name] = sorted(listed[:trained])
        split['test'][name] = sorted(listed[trained:])
    return split


def listed_split(files: Mapping[str, Sequence[str]], path: str | Path) -> Split:
    """A split by a list of the recordings that test.

    Args:
        files (Mapping[str, Sequence[str]]): File names of each class.
        path (str | Path): Text file with a line ``CLASS/FILE`` for each.

    Raises:
        EventError: The list cannot be read, or has a line that is no file of these.
    """
    try:
        lines = Path(path).read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise EventError(f'{path}: the list of the split cannot be read: {error}') from error
    tested = set(lines)
    known = {f'{name}/{file}' for name, listed in files.items() for file in listed}
    unknown = sorted(tested - known)
    if unknown or not tested:
        raise EventError(
            f'{path}: {len(unknown)} of {len(tested)} recordings of the split are missing, e.g. '
            f'{unknown[:3]}: expected lines CLASS/FILE of the archive'
        )
    split: Split = {'train': {}, 'test': {}}
    for name, listed in files.items():
        for part, wanted in (('train', False), ('test', True)):
            split[part][name] = [f for f in sorted(listed) if (f'{name}/{f}' in tested) == wanted]
    return split


def write_list(split: Split, path: str | Path) -> None:
    """Writes the list that :func:`listed_split` reads."""
    lines = [f'{name}/{file}\n' for name, listed in split['test'].items() for file in listed]
    Path(path).write_text(''.join(lines))
