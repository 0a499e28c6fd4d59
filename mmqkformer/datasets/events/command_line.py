"""What the preparation commands share."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ...checks import at_least
from .prepare import Job, prepare_store
from .splits import RULES, listed_split, released_split, stratified_split
from .stream import EventError


def parser(description: str) -> argparse.ArgumentParser:
    """The parser of a preparation command, with the arguments of all."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument('src', help='where the recordings are')
    made.add_argument('dst', help='folder to write the stores into')
    made.add_argument(
        '--sensor-size',
        type=at_least(1),
        nargs=2,
        default=(128, 128),
        metavar=('HEIGHT', 'WIDTH'),
        help='pixels of the sensor, by default 128 128',
    )
    made.add_argument('--workers', type=at_least(1), default=os.cpu_count(), help='processes')
    made.add_argument('--skip-bad', action='store_true', help='name, count and leave out bad files')
    return made


def add_split_arguments(made: argparse.ArgumentParser) -> None:
    """Adds the arguments of the commands that divide recordings themselves."""
    made.add_argument(
        '--split',
        default='released',
        help='released (default): the first 90 %% of each class by file name train; stratified: a '
        'random 90 %%; or a text file that lists the recordings that test, CLASS/FILE a line',
    )
    made.add_argument('--seed', type=at_least(0), default=0, help='seed of the stratified split')


def prepare_split(
    args: argparse.Namespace,
    found: dict[str, dict[str, Job]],
    classes: Sequence[str],
    source: str,
) -> None:
    """Divides recordings as the arguments say and writes both stores."""
    names = {name: list(jobs) for name, jobs in found.items()}
    if args.split == 'released':
        split, rule = released_split(names), args.split
    elif args.split == 'stratified':
        split, rule = stratified_split(names, args.seed), f'{args.split}, seed {args.seed}'
    elif not Path(args.split).is_file():
        raise EventError(f'--split {args.split}: no such file; expected one, or one of {RULES}')
    else:
        split, rule = listed_split(names, args.split), Path(args.split).name
    if not any(split['test'].values()):
        raise EventError(
            f'{args.src}: --split {args.split} leaves no recordings to test of '
            f'{sum(map(len, names.values()))}: expected at least 10 of a class'
        )
    for part, listed in split.items():
        jobs = [found[name][file] for name, files in listed.items() for file in files]
        prepare(args, part, jobs, classes, source, rule)


def prepare(
    args: argparse.Namespace,
    split: str,
    jobs: list[Job],
    classes: Sequence[str],
    source: str,
    rule: str,
) -> None:
    """Writes the store of a split."""
    meta = dict(
        sensor_size=list(args.sensor_size), classes=list(classes), source=source, split=rule
    )
    prepare_store(Path(args.dst) / split, jobs, meta, args.workers, args.skip_bad)


def complete(dst: str | Path) -> bool:
    """Whether the stores of both splits are there."""
    return all((Path(dst) / split / 'manifest.csv').is_file() for split in ('train', 'test'))


def warn(message: str) -> None:
    """Prints a warning."""
    print(f'warning: {message}', file=sys.stderr)


def run(main: Callable[[], None]) -> None:
    """Runs a command; what is wrong with the input is one line, without a traceback."""
    try:
        main()
    except (EventError, OSError) as error:
        raise SystemExit(f'error: {error}') from error
