"""Prepare one's own recordings (*.aedat, *.npz with t, x, y, p) to a store for each split.

SRC/SPLIT/CLASS/FILE, with the splits train, val and test (val may be left out); or SRC/CLASS/FILE,
which --split divides.
"""

import argparse
from pathlib import Path

from mmqkformer.datasets.events import EventError, archives, command_line


def parse_args() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    command_line.add_split_arguments(parser)
    return parser.parse_args()


def folders(path: Path) -> list[str]:
    """Names of the folders in a folder."""
    if not path.is_dir():
        raise EventError(f'{path}: is no folder; expected SRC/SPLIT/CLASS/FILE or SRC/CLASS/FILE')
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir())


def main() -> None:
    args = parse_args()
    src = Path(args.src)
    if not (src / 'train').is_dir():
        classes = folders(src)
        found = archives.find_folders(src, classes, args.sensor_size)
        command_line.prepare_split(args, found, classes, src.name)
        return
    classes = folders(src / 'train')
    for split in ('train', 'val', 'test'):
        if not (src / split).is_dir():
            continue
        if folders(src / split) != classes:
            raise EventError(
                f'{src / split}: classes {folders(src / split)}: expected those of train, {classes}'
            )
        found = archives.find_folders(src / split, classes, args.sensor_size)
        jobs = [job for listed in found.values() for job in listed.values()]
        command_line.prepare(args, split, jobs, classes, src.name, 'folders')


if __name__ == '__main__':
    command_line.run(main)
