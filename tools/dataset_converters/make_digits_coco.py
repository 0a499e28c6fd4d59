"""Make a small detection and segmentation set of scikit-learn's handwritten digits.

    DST/images/{train,val,test}/000000.png
    DST/annotations/instances_{train,val,test}.json   COCO: boxes, masks (RLE), categories 0 to 9
    DST/label_maps/{train,val,test}/000000.png        as ADE20K's: 0 the canvas, 1 + the digit

The digits of a split come from the same split of the classification set, so that no test digit is
ever trained on. The same arguments give the same files; splits that are complete are kept.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mmqkformer.checks import at_least, number
from mmqkformer.datasets import Digits
from mmqkformer.datasets.digit_scenes import Scene, compose
from mmqkformer.files import disk_errors_in_one_line, write_atomically

SPLITS = ('train', 'val', 'test')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('dst', type=Path, help='folder to write into')
    parser.add_argument(
        '--images',
        type=at_least(1),
        nargs=3,
        default=[1500, 100, 200],
        metavar=SPLITS,
        help='images of each split; by default 1500 100 200',
    )
    parser.add_argument(
        '--size', type=at_least(1), nargs=2, default=[128, 128], metavar=('HEIGHT', 'WIDTH')
    )
    parser.add_argument('--max-digits', type=at_least(1), default=8, help='most digits of an image')
    parser.add_argument(
        '--sides',
        type=number(),
        nargs=2,
        default=[20.0, 44.0],
        metavar=('MIN', 'MAX'),
        help="range of the sides of a digit's square image, in pixels; by default 20 to 44",
    )
    parser.add_argument('--seed', type=at_least(0), default=0)
    args = parser.parse_args()
    smallest, largest = args.sides
    if not 8 <= smallest <= largest:
        parser.error(f'--sides {smallest:g} {largest:g}: expected 8 <= MIN <= MAX')
    if min(args.size) < 1.5 * largest + 1:
        parser.error(
            f'--size {args.size[0]} {args.size[1]}: expected at least {int(1.5 * largest) + 1} '
            f'pixels, for digits of {largest:g} that are turned'
        )
    if args.max_digits > 255:
        parser.error(f'--max-digits {args.max_digits}: expected 1 to 255')
    return args


def run_lengths(mask: np.ndarray) -> dict:
    """COCO's uncompressed RLE: lengths of the runs of 0 and 1 in column order, from a run of 0."""
    flat = np.concatenate([[0], mask.ravel(order='F').astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat))
    ends = np.concatenate([[0], edges, [mask.size]])
    counts = np.diff(ends).tolist()
    # A mask that reaches the last pixel ends with the edge there
    return dict(size=list(mask.shape), counts=counts[:-1] if counts[-1] == 0 else counts)


def annotations(scene: Scene, image_id: int, first_id: int) -> list[dict]:
    """COCO's annotations of a scene's digits."""
    found = []
    for i, (mask, label) in enumerate(zip(scene.masks(), scene.labels)):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        top, left = int(rows[0]), int(columns[0])
        found.append(
            dict(
                id=first_id + i,
                image_id=image_id,
                category_id=label + 1,
                bbox=[left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
                area=int(mask.sum()),
                segmentation=run_lengths(mask),
                iscrowd=0,
            )
        )
    return found


def write_png(pixels: np.ndarray, path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'png')
    write_atomically(buffer.getvalue(), path)


def make_split(args: argparse.Namespace, split: str, count: int) -> None:
    """Write a split; its annotation file comes last and says that the split is complete."""
    dst, path = args.dst, args.dst / 'annotations' / f'instances_{split}.json'
    settings = dict(
        size=args.size, max_digits=args.max_digits, sides=args.sides, seed=args.seed, images=count
    )
    if path.is_file():
        made_with = json.loads(path.read_text())['info'].get('settings')
        if made_with != settings:
            raise SystemExit(
                f'{path} was made with {made_with}, not with {settings}: choose another folder, or '
                f'remove {dst}'
            )
        print(f'{split}: {count} images are there')
        return
    samples = Digits(split=split)
    digits = [(info['img'][..., 0], info['gt_label']) for info in samples]
    images, objects = [], []
    for i in tqdm(range(count), desc=split, unit='image'):
        rng = np.random.default_rng([args.seed, SPLITS.index(split), i])
        scene = compose(rng, digits, tuple(args.size), args.max_digits, tuple(args.sides))
        name = f'{i:06d}.png'
        write_png(scene.image, dst / 'images' / split / name)
        write_png(scene.label_map(), dst / 'label_maps' / split / name)
        images.append(dict(id=i, file_name=name, height=args.size[0], width=args.size[1]))
        objects += annotations(scene, i, len(objects) + 1)
    content = dict(
        info=dict(description="scikit-learn's digits on textured canvases", settings=settings),
        images=images,
        annotations=objects,
        categories=[dict(id=i + 1, name=name) for i, name in enumerate(Digits.METAINFO['classes'])],
    )
    write_atomically(json.dumps(content).encode(), path)


def main() -> None:
    args = parse_args()
    for split, count in zip(SPLITS, args.images):
        make_split(args, split, count)


if __name__ == '__main__':
    with disk_errors_in_one_line():
        main()
