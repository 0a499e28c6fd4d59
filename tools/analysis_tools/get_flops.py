"""Count a model's multiply-accumulates, all time steps together, and its parameters."""

import argparse

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

NOTE = """\
Counted: the multiply-accumulates of convolutions, linear layers and matrix products (those of the
attention included), as dense arithmetic would do them, for one sample and all time steps; what the
model computes once for all time steps counts once. Not counted: normalisation, neurons, pooling,
biases and element-wise products."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        default=[224],
        help='SIZE, HEIGHT WIDTH, or one sample in full: C H W, or T C H W of events',
    )
    return parser.parse_args()


def input_shape(shape: list[int]) -> tuple[int, ...]:
    """The sample's shape that the command line means; an image has 3 channels."""
    if len(shape) == 1:
        return (3, shape[0], shape[0])
    return (3, *shape) if len(shape) == 2 else tuple(shape)


def count(model: nn.Module, shape: tuple[int, ...]) -> tuple[dict[str, int], int]:
    """Count what a forward pass of one sample takes.

    Args:
        model (nn.Module): An OpenMMLab model, called with ``mode='tensor'``.
        shape (tuple[int, ...]): Shape of a sample, ``[C, H, W]`` or ``[T, C, H, W]``.

    Returns:
        tuple[dict[str, int], int]: Multiply-accumulates by operator, and the number of parameters.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.eval()(torch.zeros(1, *shape), mode='tensor')
    # the counter counts a multiplication and an addition as two
    macs = {str(op): flops // 2 for op, flops in counter.get_flop_counts()['Global'].items()}
    return macs, sum(p.numel() for p in model.parameters())


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    shape = input_shape(args.shape)
    macs, params = count(MODELS.build(cfg.model), shape)
    total = sum(macs.values())
    print(f'input: {" x ".join(map(str, shape))}')
    for op, n in macs.items():
        print(f'  {op}: {n:,}')
    print(f'multiply-accumulates, all time steps: {total:,} ({total / 1e9:.3f} G)')
    print(f'parameters: {params:,} ({params / 1e6:.3f} M)')
    print(NOTE)


if __name__ == '__main__':
    main()
