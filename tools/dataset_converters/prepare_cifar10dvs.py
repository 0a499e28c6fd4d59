"""Prepare CIFAR10-DVS: the ten zip files (or extracted folders) to a store for each split."""

import argparse

from mmqkformer.datasets.events import archives, command_line, splits
from mmqkformer.datasets.events.classes import CIFAR10

PER_CLASS = 1000  # recordings of the complete archive


def parse_args() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    command_line.add_split_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    found = archives.find_cifar10dvs(args.src, args.sensor_size)
    short = {name: len(jobs) for name, jobs in found.items() if len(jobs) != PER_CLASS}
    if short and args.split in splits.RULES:
        command_line.warn(
            f'{args.src}: {short} recordings instead of {PER_CLASS}: the split is not the '
            'published one; with the complete list it would be: --split '
            'configs/_base_/datasets/splits/cifar10dvs_released.txt'
        )
    command_line.prepare_split(args, found, CIFAR10, 'CIFAR10-DVS')


if __name__ == '__main__':
    command_line.run(main)
