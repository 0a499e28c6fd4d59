"""Time training steps of configs on random images, and compare the peak memory with the count.

A step is a micro-batch as the config loads it: forward, backward and, after as many as accumulate,
the optimizer, in the config's mixed precision. On a GPU the measured peak (PyTorch's allocator;
without the CUDA context) stands beside what tools/misc/estimate_memory.py counts for the same step
on one GPU, without an average of the weights.
"""

import argparse
import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from mmengine.config import Config, DictAction
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmqkformer.analysis import training_memory
from mmqkformer.analysis.batches import sample_shape, training_batch, training_size
from mmqkformer.checks import at_least
from mmqkformer.engine.launch import adapt_to_cpu
from mmqkformer.files import written_whole
from mmqkformer.version import check_framework


@dataclass
class Measurement:
    """One config's row.

    Attributes:
        config (str): Name.
        images (int): Of a micro-batch.
        milliseconds (list[float]): Of each step.
        peak (int): Bytes allocated at most; 0 on a CPU, where nothing tells.
        counted (int): Bytes that the estimate counts.
    """

    config: str
    images: int
    milliseconds: list[float]
    peak: int
    counted: int

    def row(self) -> list[str]:
        """Cells of the table."""
        middle = median(self.milliseconds)
        return [
            self.config,
            str(self.images),
            f'{middle:.1f}',
            f'{min(self.milliseconds):.1f} to {max(self.milliseconds):.1f}',
            f'{1000 * self.images / middle:.1f}',
            f'{self.peak / 2**30:.2f}' if self.peak else '-',
            f'{self.counted / 2**30:.2f}',
            f'{self.peak / self.counted:.3f}' if self.peak else '-',
        ]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='+', help='config files')
    parser.add_argument(
        '--size',
        type=at_least(1),
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='of the images; by default what the training pipeline makes',
    )
    parser.add_argument('--steps', type=at_least(1), default=10)
    parser.add_argument('--warmup', type=at_least(0), default=3)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--json', type=Path, help='file to write the measurements to')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides, key=value')
    return parser.parse_args()


def measure(path: str, args: argparse.Namespace) -> Measurement:
    """Trains the config's model for a few steps."""
    cfg = Config.fromfile(path)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    adapt_to_cpu(cfg)
    scope = cfg.get('default_scope', 'mmengine')
    check_framework(scope)
    cfg.custom_hooks = []
    images = cfg.train_dataloader.batch_size
    size = tuple(args.size) if args.size else training_size(cfg)
    counted = training_memory(cfg, size, gpus=1).total
    cuda = torch.device(args.device).type == 'cuda'
    torch.backends.cudnn.benchmark = cfg.get('env_cfg', {}).get('cudnn_benchmark', False)
    with DefaultScope.overwrite_default_scope(scope):
        model = dict(cfg.model)
        model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
        model = MODELS.build(model).to(args.device).train()
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        wrapper.initialize_count_status(model, 0, 10**9)
        batch = training_batch(scope, sample_shape(model, size), images)
        batch = model.data_preprocessor.cast_data(batch)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    milliseconds = []
    for i in track(range(args.warmup + args.steps), description=Path(path).stem):
        start = time.perf_counter()
        model.train_step(batch, wrapper)
        if cuda:
            torch.cuda.synchronize()
        if i >= args.warmup:
            milliseconds.append(1000 * (time.perf_counter() - start))
    peak = torch.cuda.max_memory_allocated() if cuda else 0
    return Measurement(Path(path).stem, images, milliseconds, peak, counted)


def main() -> None:
    args = parse_args()
    cuda = torch.device(args.device).type == 'cuda'
    device = torch.cuda.get_device_name() if cuda else f'{torch.get_num_threads()} CPU threads'
    title = f'{device}, torch {torch.__version__}, Python {platform.python_version()}'
    table = Table(title=title)
    for column in (
        'config',
        'images',
        'ms',
        'spread',
        'images/s',
        'GiB',
        'GiB counted',
        'ratio',
    ):
        table.add_column(column, justify='left' if column == 'config' else 'right', no_wrap=True)
    measured = []
    for path in args.config:
        measured.append(measure(path, args))
        table.add_row(*measured[-1].row())
        if args.json:  # after each: an error in a later one loses nothing
            result = dict(device=title, measurements=[asdict(one) for one in measured])
            with written_whole(args.json) as partial:
                partial.write_text(json.dumps(result, indent=2))
        if cuda:
            torch.cuda.empty_cache()
    Console(width=120).print(table)


if __name__ == '__main__':
    main()
