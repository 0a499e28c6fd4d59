"""Film images with an event camera in software, into archives of the original layouts.

``--layout folders`` writes SPLIT/CLASS/NNNN.aedat for ``prepare_events.py``; ``cifar10dvs`` and
``dvs128gesture`` write what the downloads of these data sets hold. Files that exist are kept: a
run that was broken goes on.
"""

import argparse
import os
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from mmqkformer.checks import at_least
from mmqkformer.datasets import Digits
from mmqkformer.datasets.events import command_line, film
from mmqkformer.datasets.events.camera import EventCamera
from mmqkformer.datasets.events.classes import CIFAR10

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('dst', help='folder to write into')
    parser.add_argument(
        '--layout', choices=['folders', 'cifar10dvs', 'dvs128gesture'], default='folders'
    )
    parser.add_argument(
        '--images',
        help="folder of CLASS/*.png (or jpg, bmp) to film; by default scikit-learn's digits, which "
        'with cifar10dvs stand in for the ten classes. dvs128gesture films moving discs instead',
    )
    parser.add_argument(
        '--per-class', type=at_least(1), help='films of each class (and split); by default all'
    )
    parser.add_argument('--users', type=at_least(1), default=29, help='people of dvs128gesture')
    parser.add_argument(
        '--sensor-size',
        type=at_least(1),
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='by default 34 34 for folders, 128 128 else',
    )
    parser.add_argument('--max-events', type=at_least(1), help='events at which a film is cut off')
    parser.add_argument('--archives', action='store_true', help='also pack the zips or the tar.gz')
    parser.add_argument('--workers', type=at_least(1), default=os.cpu_count(), help='processes')
    parser.add_argument('--seed', type=at_least(0), default=0)
    args = parser.parse_args()
    if args.images is not None and args.layout == 'dvs128gesture':
        parser.error('--images: dvs128gesture films moving discs, no images')
    if args.sensor_size is None:
        args.sensor_size = (34, 34) if args.layout == 'folders' else (128, 128)
    return args


def digits(layout: str) -> list[tuple[str, str, np.ndarray]]:
    """Split, class and image of scikit-learn's digits, as the layout has them."""
    if layout == 'cifar10dvs':
        return [
            ('', CIFAR10[info['gt_label']], info['img'])
            for split in ('train', 'val', 'test')
            for info in Digits(split=split)
        ]
    return [
        (split, str(info['gt_label']), info['img'])
        for split in ('train', 'val', 'test')
        for info in Digits(split=split)
    ]


def images_of(root: Path) -> list[tuple[str, str, np.ndarray]]:
    """The same of a folder of images, all in one split."""
    found = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        for path in paths:
            with Image.open(path) as image:
                found.append(('', folder.name, np.asarray(image.convert('RGB'))))
    if not found:
        raise SystemExit(f'--images {root}: expected CLASS/*.png (or jpg, bmp)')
    return found


def main() -> None:
    args = parse_args()
    camera = EventCamera(tuple(args.sensor_size))
    dst = Path(args.dst)
    common = dict(seed=args.seed, max_events=args.max_events, workers=args.workers)
    if args.layout == 'dvs128gesture':
        folder = film.film_dvs128gesture(dst, camera, users=args.users, **common)
        if args.archives:
            film.pack_tar(folder)
        return
    samples = images_of(Path(args.images)) if args.images else digits(args.layout)
    if args.layout == 'cifar10dvs' and {name for _, name, _ in samples} != set(CIFAR10):
        raise SystemExit(f'--images {args.images}: expected the classes of CIFAR-10, {CIFAR10}')
    images, paths, counts = [], [], Counter()
    for split, name, image in samples:
        number = counts[split, name]
        if args.per_class is not None and number >= args.per_class:
            continue
        counts[split, name] += 1
        stem = f'cifar10_{name}_{number}' if args.layout == 'cifar10dvs' else f'{number:04d}'
        images.append(image)
        paths.append(dst / split / name / f'{stem}.aedat')
    # The share of the sensor that an image moves by stays the same
    amplitude = 3 / 34 * min(args.sensor_size)
    film.film_images(images, paths, camera, amplitude=amplitude, **common)
    if args.archives and args.layout == 'cifar10dvs':
        film.pack_zips(dst)


if __name__ == '__main__':
    command_line.run(main)
