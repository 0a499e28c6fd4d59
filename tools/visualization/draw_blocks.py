"""Draw the embeddings and blocks of networks, from the modules that run.

    python tools/visualization/draw_blocks.py sdt-v1-8-384 configs/qkformer/hst-10-384_8xb64_in1k.py

What is alike in all but its channels is drawn once. The pictures of docs/zoo.md are made so.
"""

import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn
from tqdm import tqdm

from mmqkformer.analysis.block_figure import draw_blocks
from mmqkformer.analysis.figures import save_figure
from mmqkformer.models import ARCHITECTURES


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('network', nargs='+', help='names of architectures, or configs')
    parser.add_argument('--out-dir', type=Path, default=Path('work_dirs/blocks'))
    return parser.parse_args()


def backbone_of(network: str) -> nn.Module:
    """The backbone that an architecture's name or a config's path stands for."""
    if network in ARCHITECTURES:
        return MODELS.build(dict(type='SpikingBackbone', arch=network))
    if not Path(network).is_file():
        raise SystemExit(
            f'{network}: expected a config, or one of the architectures {sorted(ARCHITECTURES)}'
        )
    return MODELS.build(Config.fromfile(network).model.backbone)


def main() -> None:
    args = parse_args()
    for network in tqdm(args.network, unit='picture'):
        name = Path(network).stem if network not in ARCHITECTURES else network
        path = args.out_dir / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        save_figure(draw_blocks(backbone_of(network), name), path, dpi=80)
        tqdm.write(str(path))


if __name__ == '__main__':
    main()
