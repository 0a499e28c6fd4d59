"""Count how many images of a training step fit a GPU, for each way to keep less of it.

Ways are the backbone's ``memory`` and ``with_cp``. The peak grows in proportion to the images: two
micro-batches are counted as tools/misc/estimate_memory.py counts them, and the line through them
gives the rest. Printed is a table of Markdown: the most images whose peak fits, and GiB an image.
"""

import argparse
import math
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger
from tqdm import tqdm

from mmqkformer.analysis import training_memory
from mmqkformer.analysis.batches import training_size
from mmqkformer.checks import at_least, number
from mmqkformer.version import check_framework

GIB = 2**30
# Below, a peak may lie in the optimizer's step
COUNTED = (8, 16)
WAYS = {
    'none': dict(memory=None, with_cp=False),
    'packed': dict(memory='packed', with_cp=False),
    'recompute': dict(memory='recompute', with_cp=False),
    'with_cp': dict(memory=None, with_cp=True),
    'with_cp, packed': dict(memory='packed', with_cp=True),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='+', help='config files')
    parser.add_argument(
        '--size',
        type=at_least(1),
        nargs='+',
        help='pixels of a side, one after another; by default what the training pipeline makes',
    )
    parser.add_argument(
        '--time-steps', type=at_least(1), nargs='+', help="one after another; by default config's"
    )
    parser.add_argument('--fit', type=number(low=0), default=32.0, metavar='GIB', help='of the GPU')
    parser.add_argument(
        '--margin',
        type=number(low=0),
        default=2.0,
        metavar='GIB',
        help='what is assumed for all that is not counted (default: %(default)s)',
    )
    args = parser.parse_args()
    if not 0 <= args.margin < args.fit:
        parser.error(f'--margin {args.margin:g}: expected at least 0 and less than --fit')
    return args


def cell(cfg: Config, size: tuple[int, int], capacity: float) -> str:
    """The most images that fit, and GiB an image."""
    peaks = {}
    for images in COUNTED:
        cfg.train_dataloader.batch_size = images
        peaks[images] = training_memory(cfg, size, gpus=8).total / GIB
    few, many = COUNTED
    each = (peaks[many] - peaks[few]) / (many - few)
    most = few + math.floor((capacity - peaks[few]) / each)
    return f'{max(most, 0)} ({each:.2f})'


def main() -> None:
    args = parse_args()
    MMLogger.get_instance('compare_memory', log_level='WARNING')
    print('| config | T | image |', *(f'{way} |' for way in WAYS))
    print('|---|---|---|' + '---|' * len(WAYS))
    for path in args.config:
        cfg = Config.fromfile(path)
        check_framework(cfg.get('default_scope', 'mmengine'))
        cfg.optim_wrapper.accumulative_counts = 1
        backbone = cfg.model.backbone
        for side in args.size or [None]:
            size = training_size(cfg) if side is None else (side, side)
            for time_steps in args.time_steps or [backbone.get('time_steps', 4)]:
                backbone.time_steps = time_steps
                cells = []
                name = f'{Path(path).stem}, {size[0]} x {size[1]}, T {time_steps}'
                for way in tqdm(WAYS.values(), desc=name, leave=False):
                    backbone.update(way)
                    cells.append(cell(cfg, size, args.fit - args.margin))
                row = [f'`{Path(path).stem}`', time_steps, '{} x {}'.format(*size), *cells]
                print('|', *(f'{value} |' for value in row), flush=True)


if __name__ == '__main__':
    main()
