"""Count a model's operations, all time steps together, and its parameters.

Accumulates of spikes and multiply-accumulates of analogue numbers are told apart.
"""

import argparse

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmqkformer.analysis import Operations, count_operations
from mmqkformer.checks import at_least
from mmqkformer.version import check_framework

NOTE = """\
Counted: the products of convolutions, linear layers and matrix products (those of the attention
included), as dense arithmetic would do them, for one sample and all time steps; what the model
computes once for all time steps counts once. One factor of an accumulate is a spike, a graded
spike or a sum of spikes: neuromorphic hardware adds where a spike arrives, so that its number of
additions is this one times the firing rate, which is the mean number of spikes where they are
graded or summed. Not counted: normalisation, neurons, pooling, biases and element-wise products. A
two-stage detector counts with as many proposals as its test takes at most, and 100 masks."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape',
        type=at_least(1),
        nargs='+',
        default=[224],
        help='SIZE, HEIGHT WIDTH, or one sample in full: C H W, or T C H W of events',
    )
    parser.add_argument('--layers', action='store_true', help='also print a table of the layers')
    return parser.parse_args()


def input_shape(shape: list[int]) -> tuple[int, ...]:
    """The sample's shape that the command line means; an image has 3 channels."""
    if len(shape) == 1:
        return (3, shape[0], shape[0])
    return (3, *shape) if len(shape) == 2 else tuple(shape)


def table_of_layers(counts: Operations) -> str:
    """A line for each layer: accumulates, multiply-accumulates, name."""
    rows = [('accumulates', 'multiply-accumulates', 'layer')]
    for name, layer in counts.layers.items():
        products = (layer.accumulates, layer.multiply_accumulates)
        rows.append((*(f'{sum(n.values()):,}' for n in products), name or '(the model itself)'))
    left, right = (max(len(row[column]) for row in rows) for column in (0, 1))
    return '\n'.join(f'{a:>{left}}  {b:>{right}}  {name}' for a, b, name in rows)


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    check_framework(cfg.get('default_scope', 'mmpretrain'))
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    if cfg.get('data_preprocessor') is not None:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    shape = input_shape(args.shape)
    counts = count_operations(MODELS.build(cfg.model), shape)
    print(f'input: {" x ".join(map(str, shape))}')
    if args.layers:
        print(table_of_layers(counts))
    for name in ('accumulates', 'multiply_accumulates'):
        operators = getattr(counts, name)
        products = sum(operators.values())
        print(f'{name.replace("_", "-")}: {products:,} ({products / 1e9:.3f} G)')
        for operator, n in operators.items():
            print(f'  {operator}: {n:,}')
    print(f'both, all time steps: {counts.total:,} ({counts.total / 1e9:.3f} G)')
    print(f'parameters: {counts.parameters:,} ({counts.parameters / 1e6:.3f} M)')
    print(NOTE)


if __name__ == '__main__':
    main()
