"""Convert a checkpoint of a public release, of QKFormer or a peer of it, to this zoo."""

import argparse
import sys

from mmqkformer.convert import UnknownCheckpointError, convert_file
from mmqkformer.files import disk_errors_in_one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='released checkpoint; the family is told from its keys')
    parser.add_argument('dst', help='file to write')
    parser.add_argument('--ema', action='store_true', help='take the EMA weights of a timm file')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        checkpoint = convert_file(args.src, args.dst, use_ema=args.ema)
    except (FileNotFoundError, UnknownCheckpointError) as error:
        sys.exit(f'error: {error}')
    family, weights = checkpoint['meta']['family'], len(checkpoint['state_dict'])
    print(f'{args.dst}: {family} family, {weights} weights')


if __name__ == '__main__':
    with disk_errors_in_one_line():
        main()
