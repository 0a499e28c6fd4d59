"""Count the peak memory of a training step on one GPU, and the micro-batch that fits it.

The model of the config is run forwards, backwards and through its optimizer on tensors that have a
shape but no data: no GPU is needed, and little memory.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from tqdm import tqdm

from mmqkformer.analysis import TrainingMemory, micro_batches, training_memory
from mmqkformer.checks import at_least, number
from mmqkformer.version import check_framework

GIB = 2**30
NOTE = """\
Counted: every tensor that is alive at the peak. Not counted, and assumed to be no more than
--margin: the CUDA context, workspaces inside of kernels (cuDNN, NCCL), what the allocator loses to
rounding and fragmentation, what a card of N GB has less than N GiB, and a teacher."""
MEANINGS = dict(
    parameters='parameters',
    buffers='buffers (running statistics)',
    gradients='gradients',
    optimizer="optimizer's states",
    average='average of the weights',
    buckets='buckets of the gradients (data parallelism)',
    saved='saved by the forward pass for the backward pass',
    working='working set',
)
HEADER = """\
| config | image | micro-batch x accumulated | checkpointing | model and optimizer | activations | \
peak | largest micro-batch: plain | checkpointing |
|---|---|---|---|---|---|---|---|---|"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', nargs='+', help='config files')
    parser.add_argument(
        '--size',
        type=at_least(1),
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='of the images; by default what the training pipeline makes',
    )
    parser.add_argument(
        '--gpus',
        type=at_least(1),
        help='by default as many as make the effective batch auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--fit',
        type=number(low=0),
        metavar='GIB',
        help="find the largest micro-batch that divides a GPU's images per optimizer step and fits "
        'a GPU of this memory, with and without activation checkpointing',
    )
    parser.add_argument(
        '--margin',
        type=number(low=0),
        default=2.0,
        metavar='GIB',
        help='of --fit, what is assumed for all that is not counted (default: %(default)s)',
    )
    parser.add_argument(
        '--markdown', action='store_true', help='print a table for documentation; needs --fit'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='overrides of the config, key=value; a list is key="[a,b]" or key=a,b',
    )
    args = parser.parse_args()
    if args.markdown and args.fit is None:
        parser.error('--markdown: expected --fit GIB, the memory of the GPU that the table is for')
    if args.fit is not None and not 0 <= args.margin < args.fit:
        parser.error(f'--margin {args.margin:g}: expected at least 0 and less than --fit')
    return args


def largest(tries: Iterable[TrainingMemory], capacity: float) -> TrainingMemory | None:
    """The first of micro-batches, the largest first, that takes no more than some GiB."""
    return next((memory for memory in tries if memory.total <= capacity * GIB), None)


def table_row(
    name: str, memory: TrainingMemory, plain: TrainingMemory | None, cp: TrainingMemory | None
) -> str:
    """A line of the table of the documentation."""
    # Where the peak is in the forward pass, nothing is saved yet
    activations = memory.parts.get('saved', 0) + memory.parts['working']
    fitting = [f'{m.images} ({m.total / GIB:.1f})' if m else 'none' for m in (plain, cp)]
    cells = [
        f'`{name}`',
        '{} x {}'.format(*memory.size),
        f'{memory.images} x {memory.micro_batches}',
        'yes' if memory.checkpointing else 'no',
        *(f'{b / GIB:.1f}' for b in (memory.total - activations, activations, memory.total)),
        *fitting,
    ]
    return '| ' + ' | '.join(cells) + ' |'


def print_parts(memory: TrainingMemory) -> None:
    print(
        f'{memory.images} images of {memory.size[0]} x {memory.size[1]} on each of {memory.gpus} '
        f'GPUs, {memory.micro_batches} micro-batches an optimizer step, '
        f'{"with" if memory.checkpointing else "without"} checkpointing, '
        f'memory={memory.memory!r}:'
    )
    for part, meaning in MEANINGS.items():
        print(f'  {memory.parts.get(part, 0) / GIB:7.3f} GiB  {meaning}')
    print(f'  {memory.total / GIB:7.3f} GiB  peak')


def main() -> None:
    args = parse_args()
    MMLogger.get_instance('estimate_memory', log_level='WARNING')
    if args.markdown:
        print(HEADER)
    for path in tqdm(args.config, desc='configs', disable=len(args.config) == 1):
        cfg = Config.fromfile(path)
        check_framework(cfg.get('default_scope', 'mmengine'))
        cfg.merge_from_dict(args.cfg_options or {})
        memory = training_memory(cfg, args.size, args.gpus)
        fitting = []
        if args.fit is not None:
            for checkpointing in (False, True):
                tries = tqdm(
                    micro_batches(cfg, checkpointing, args.size, args.gpus, known=memory),
                    desc=f'{Path(path).stem}, {"with" if checkpointing else "no"} checkpointing',
                    unit=' micro-batches',
                    leave=False,
                )
                fitting.append(largest(tries, args.fit - args.margin))
        if args.markdown:
            print(table_row(Path(path).stem, memory, *fitting), flush=True)
            continue
        print(path)
        print_parts(memory)
        for found, how in zip(fitting, ('without', 'with')):
            best = f'{found.images} images ({found.total / GIB:.3f} GiB)' if found else 'none'
            print(f'largest micro-batch of {args.fit:g} GiB {how} checkpointing: {best}')
    if not args.markdown:
        print(NOTE)


if __name__ == '__main__':
    main()
