"""Curves of a training, a value for each epoch: of mmengine's logs, of a file, of a release."""

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_RELEASED = Path(__file__).parent / 'released'
# What docs/logs.md calls them
TAGS = {
    'lr': 'train_epoch/lr',
    'train_loss': 'train_epoch/loss',
    'val_loss': 'val/loss',
    'val_loss_ema': 'val/loss_ema',
    'top1': 'val/accuracy/top1',
    'top5': 'val/accuracy/top5',
    'top1_ema': 'val/accuracy_ema/top1',
    'top5_ema': 'val/accuracy_ema/top5',
}
# Of a rate that is logged with all its digits, so many count
_DIGITS = 7


@dataclass(frozen=True)
class Curves:
    """What a training logged of its epochs.

    Attributes:
        name (str): Where they come from.
        values (dict[str, dict[int, float]]): By quantity, of :data:`TAGS`, and epoch from 1.
            Accuracies are in percent.
        lr_unit (dict[int, float]): By epoch, what the last digit of the learning rate counts.
        notes (tuple[str, ...]): What a comparison with them has to say.
    """

    name: str
    values: dict[str, dict[int, float]]
    lr_unit: dict[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def epochs(self) -> list[int]:
        """Those that have a value."""
        return sorted({epoch for values in self.values.values() for epoch in values})


def released_curves() -> list[str]:
    """Names of the released curves that come with this package."""
    return sorted(path.stem for path in _RELEASED.glob('*.csv'))


def read_curves(source: str | Path) -> Curves:
    """Reads curves from wherever they are.

    Args:
        source (str | Path): A name of :func:`released_curves`, a file of :func:`read_csv`, or a
            folder of :func:`read_work_dir`.

    Raises:
        OSError: A file cannot be read, or a folder holds no log.
        ValueError: ``source`` is nothing of these, or what it holds is no curve.
    """
    if source in released_curves():
        curves = read_csv(_RELEASED / f'{source}.csv')
        return Curves(f'{source}, released', curves.values, curves.lr_unit, curves.notes)
    if Path(source).is_dir():
        return read_work_dir(source)
    if Path(source).is_file():
        return read_csv(source)
    known = ', '.join(released_curves())
    raise ValueError(
        f'reference={str(source)!r}: expected a work directory, a CSV file, or one of {known}'
    )


def read_csv(path: str | Path) -> Curves:
    """Reads curves from a table.

    Args:
        path (str | Path): CSV with the columns ``epoch``, which counts from 0 or from 1, and some
            of :data:`TAGS`; others are passed over. An empty cell is an epoch without the value.
            Lines that begin with ``#`` are notes.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such table.
    """
    lines = Path(path).read_text(encoding='utf-8', errors='replace').splitlines()
    notes = tuple(line.lstrip('# ') for line in lines if line.startswith('#'))
    table = csv.DictReader(line for line in lines if not line.startswith('#'))
    columns = [name for name in table.fieldnames or () if name in TAGS]
    if 'epoch' not in (table.fieldnames or ()) or not columns:
        raise ValueError(
            f'{path}: columns {table.fieldnames}: expected epoch and some of {", ".join(TAGS)}'
        )
    values: dict[str, dict[int, float]] = {name: {} for name in columns}
    units: dict[int, float] = {}
    first = None
    for row in table:
        epoch = _cell(path, row, 'epoch', int)
        first = epoch if first is None else first
        epoch += 1 - first
        for name in columns:
            if row[name]:
                values[name][epoch] = _cell(path, row, name, float)
        if row.get('lr'):
            units[epoch] = _unit(row['lr'])
    if first not in (0, 1):
        raise ValueError(f'{path}: first epoch {first}: expected rows that begin with epoch 0 or 1')
    return Curves(str(path), values, units, notes)


def _cell(path: str | Path, row: dict, name: str, kind: type) -> float:
    try:
        return kind(row[name])
    except (TypeError, ValueError):
        raise ValueError(
            f'{path}: {name}={row[name]!r} in the row of epoch {row["epoch"]}: expected a number'
        ) from None


def _unit(printed: str) -> float:
    mantissa, _, exponent = printed.lower().partition('e')
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition('.')[2]))


def read_work_dir(folder: str | Path) -> Curves:
    """Reads what a run, resumed or not, logged of its epochs.

    Its parts are read one after the other. What a part trains again, since it was resumed from an
    earlier checkpoint or begun anew, replaces that epoch and those behind it. The last line of a
    log may be torn, as a killed run leaves it.

    Args:
        folder (str | Path): Work directory, which holds ``TIME/vis_data/scalars.json``, or a
            ``TIME`` of one.

    Raises:
        OSError: There is no such folder, or no log in it.
        ValueError: A line is no entry of a log, or no epoch was logged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: no such folder, expected a work directory')
    parts = [folder / 'vis_data', *sorted(folder.glob('*/vis_data'))]
    logs = [log for part in parts for log in _logs_of(part)]
    if not logs:
        raise FileNotFoundError(f'{folder}: no log, expected TIME/vis_data/scalars.json in it')
    rows: dict[int, dict[str, float]] = {}
    for log in logs:
        for place, entry in _entries(log):
            row = {name: entry[tag] for name, tag in TAGS.items() if tag in entry}
            if not row:
                continue
            epoch = entry.get('step')
            if not all(isinstance(value, int | float) for value in (epoch, *row.values())):
                raise ValueError(f'{place}: step {epoch!r}, {row}: expected numbers')
            if 'train_loss' in row:
                rows = {earlier: kept for earlier, kept in rows.items() if earlier < epoch}
            rows.setdefault(epoch, {}).update(row)
    values = {
        name: {epoch: row[name] for epoch, row in sorted(rows.items()) if name in row}
        for name in TAGS
    }
    values = {name: by_epoch for name, by_epoch in values.items() if by_epoch}
    if not values:
        raise ValueError(
            f'{folder}: no epoch was logged, expected tags such as {TAGS["train_loss"]}, as the '
            'hooks of configs/_base_/default_runtime.py log them'
        )
    units = {epoch: _last_of(rate) for epoch, rate in values.get('lr', {}).items()}
    return Curves(str(folder), values, units)


def _logs_of(part: Path) -> list[Path]:
    log = part / 'scalars.json'
    # Each hook's entries lie in TIME.json, too
    return [log] if log.is_file() else sorted(part.glob('*.json'))


def _entries(log: Path) -> Iterator[tuple[str, dict]]:
    lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
    for number, line in enumerate(lines, start=1):
        place = f'{log}, line {number}'
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            if number == len(lines):
                return
            entry = line
        if not isinstance(entry, dict):
            raise ValueError(f'{place}: {line[:40]!r}: expected an entry of a log, in JSON')
        yield place, entry


def _last_of(rate: float) -> float:
    return 10.0 ** (math.floor(math.log10(rate)) + 1 - _DIGITS) if rate > 0 else 0.0
