"""Prepare DVS128 Gesture: DvsGesture.tar.gz (or the extracted folder) to a store for each split.

The splits are the official trial lists of the archive.
"""

import argparse

from mmqkformer.datasets.events import archives, command_line
from mmqkformer.datasets.events.classes import GESTURES


def parse_args() -> argparse.Namespace:
    return command_line.parser(__doc__).parse_args()


def main() -> None:
    args = parse_args()
    if command_line.complete(args.dst):
        print(f'{args.dst}: is complete')
        return
    folder = archives.extract_dvs128gesture(args.src, args.dst)
    for split in ('train', 'test'):
        jobs = archives.find_dvs128gesture(folder, split, args.sensor_size)
        command_line.prepare(args, split, jobs, GESTURES, 'DVS128 Gesture', 'official')
    archives.clean(args.dst)


if __name__ == '__main__':
    command_line.run(main)
