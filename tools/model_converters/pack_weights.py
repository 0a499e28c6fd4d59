"""Write a checkpoint of a quantised model (quant=... in its config) with its weights packed."""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmqkformer.deploy import save_packed
from mmqkformer.engine.checkpoints import check_checkpoint, weights_of
from mmqkformer.files import disk_errors_in_one_line
from mmqkformer.version import check_framework


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of the runner, or published')
    parser.add_argument('out', help='file to write, .safetensors')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    scope = cfg.get('default_scope', 'mmpretrain')
    check_framework(scope)
    init_default_scope(scope)
    if cfg.get('data_preprocessor') is not None:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = MODELS.build(cfg.model)
    try:
        checkpoint = check_checkpoint(model, args.checkpoint)
        # What may be missing, batch counts, has been checked
        model.load_state_dict(weights_of(checkpoint, args.checkpoint), strict=False)
        save_packed(model, args.out)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(f'{args.out}: {Path(args.out).stat().st_size:,} bytes')


if __name__ == '__main__':
    with disk_errors_in_one_line():
        main()
