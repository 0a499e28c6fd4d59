"""Make a training checkpoint ready for others: weights and classes only, a hash in its name."""

import argparse
import hashlib
import io
from pathlib import Path

import torch

from mmqkformer.engine.checkpoints import check_weights, read_checkpoint
from mmqkformer.files import disk_errors_in_one_line, write_atomically


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='training checkpoint')
    parser.add_argument('dst', help='file to write; the hash goes before its suffix')
    return parser.parse_args()


def publish(src: str, dst: str) -> Path:
    """Write the weights of a checkpoint to ``<dst>-<first 8 digits of the sha256>.pth``.

    Optimizer, schedulers, messages and the second set of weights of an averaging hook are left
    out. ``state_dict`` is kept as it was saved: with averaging those are the averaged weights,
    the ones that validation saw.

    Args:
        src (str): Checkpoint of the runner.
        dst (str): Where to write.

    Returns:
        Path: The written file.

    Raises:
        ValueError: The source is no checkpoint of the runner, or weights of it are not finite or
            otherwise unusable; nothing is written.
    """
    checkpoint = read_checkpoint(src)
    if 'state_dict' not in checkpoint:
        raise ValueError(f'{src}: expected a checkpoint of the runner, with a key state_dict')
    check_weights(checkpoint, src)
    meta = checkpoint.get('meta', {})
    published = {
        'state_dict': checkpoint['state_dict'],
        'meta': {k: meta[k] for k in ('dataset_meta', 'epoch', 'iter') if k in meta},
    }
    file = io.BytesIO()
    torch.save(published, file)
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    dst = Path(dst)
    target = dst.with_name(f'{dst.stem}-{digest[:8]}.pth')
    write_atomically(file.getvalue(), target)
    return target


def main() -> None:
    args = parse_args()
    print(f'published {publish(args.src, args.dst)}')


if __name__ == '__main__':
    with disk_errors_in_one_line():
        main()
