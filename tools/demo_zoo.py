"""Train a tiny network of every family on handwritten digits: does everything learn?

Of each folder of configs the classifier with the smallest stride, then the fewest parameters, is
taken, one of images where there is any, narrowed to --width channels with a block a stage, and
trained on scikit-learn's digits of 8 x 8 pixels, enlarged to the total stride where that is more,
all with one recipe. It ends in a table and a chart, and with an error where a family stays below
--least percent (chance is 10). Networks this small on images this small say that a family is put
together right. They say nothing about which family is better.

So that there is something to learn by, neurons fire from the beginning: norms start with a gain of
1.5 and a shift of 0.5, and the products of attentions, of a few tokens and channels here, are not
scaled down. Norms behind neurons that never fire would multiply gradients by the inverse root of
their eps. In front of graded neurons the gain is 0.45: above it most of them would stay at their
least or their highest count, where no gradient passes.

As many families are trained at a time as there are cores, each on one.
"""

import argparse
import json
import logging
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from multiprocessing import get_context
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table
from torch import nn

from mmqkformer.analysis import awaken, count_operations, recording
from mmqkformer.analysis.figures import save_figure
from mmqkformer.build import build, parameters_of, type_of
from mmqkformer.checks import at_least, number
from mmqkformer.engine import launch
from mmqkformer.files import written_whole
from mmqkformer.hub import DENSE
from mmqkformer.models.shrink import shrink_classifier
from mmqkformer.neurons import SpikingNeuron

ROOT = Path(__file__).resolve().parents[1]
RECIPE = 'configs/qkformer/hst-3-128_1xb64_digits.py'
SIDE = 8  # pixels, or the total stride where that is more
TIME_STEPS = 2
BATCH = 32
LEFT_OUT = ('_base_', *DENSE)


@dataclass
class Result:
    """What a family's tiny network came to.

    Attributes:
        family (str): Folder of its configs.
        config (str): Config that was shrunk.
        accuracy (float): Top-1 on the test images, percent.
        parameters (int): Number of them.
        firing_rate (float): Mean number of spikes of a neuron's output.
        accumulates (int): Of an image, products of spikes.
        multiply_accumulates (int): Of an image, products of analogue numbers.
        milliseconds (float): Per image of a test batch, on one core, beside what the others do.
        seconds (float): Of the training.
    """

    family: str
    config: str
    accuracy: float
    parameters: int
    firing_rate: float
    accumulates: int
    multiply_accumulates: int
    milliseconds: float
    seconds: float

    def row(self) -> list[str]:
        """Cells of the table."""
        return [
            self.family,
            self.config,
            f'{self.accuracy:.1f}',
            f'{self.parameters:,}',
            f'{self.firing_rate:.3f}',
            f'{self.accumulates / 1e6:.1f}',
            f'{self.multiply_accumulates / 1e6:.2f}',
            f'{self.milliseconds:.2f}',
            f'{self.seconds:.0f}',
        ]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--families',
        nargs='+',
        choices=families(),
        default=families(),
        metavar='FAMILY',
        help='folders of configs; by default all: %(default)s',
    )
    parser.add_argument('--width', type=at_least(8), default=96, help='channels of the last stage')
    parser.add_argument('--epochs', type=at_least(1), default=10)
    parser.add_argument('--least', type=number(0, 100), default=50.0, help='percent to reach')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/zoo'))
    return parser.parse_args()


def families() -> list[str]:
    """Folders of configs of classifiers."""
    folders = (path for path in (ROOT / 'configs').iterdir() if path.is_dir())
    return sorted(path.name for path in folders if path.name not in LEFT_OUT)


def of_digits(model: dict, width: int) -> dict:
    """A classifier's config as a narrow one of digits."""
    model = shrink_classifier(model, width)
    backbone, head = model['backbone'], model['head']
    # Graded spikes are several steps in one
    backbone.update(time_steps=1 if is_graded(backbone) else TIME_STEPS, in_channels=3)
    backbone['stages'] = unscaled(backbone['stages'])
    head.update(num_classes=10, topk=(1,))
    return model


def is_graded(backbone: dict) -> bool:
    """Whether its neurons emit more than one spike a step."""
    return 'neuron' in backbone and build(backbone['neuron'], SpikingNeuron).levels > 1


def unscaled(part: object) -> object:
    """A part's config with no factor on the products of its attentions."""
    if isinstance(part, (list, tuple)):
        return [unscaled(item) for item in part]
    if not isinstance(part, dict):
        return part
    part = {key: unscaled(value) for key, value in part.items()}
    if 'num_heads' in part and 'scale' in parameters_of(type_of(part)):
        part['scale'] = 1.0
    return part


def smallest(family: str, width: int) -> tuple[str, dict, int]:
    """Name, shrunk model and side of an image of the family's config that is quickest to train."""
    found = []
    for path in sorted((ROOT / 'configs' / family).glob('*.py')):
        cfg = Config.fromfile(path)
        if cfg.model.type != 'ImageClassifier':
            continue
        with torch.device('meta'):
            backbone = MODELS.build(cfg.model.backbone)
        events = cfg.data_preprocessor.type == 'EventDataPreprocessor'
        size = sum(p.numel() for p in backbone.parameters())
        found.append((events, backbone.strides[-1], size, len(path.stem), path.stem, cfg.model))
    _, stride, _, _, name, model = min(found, key=lambda entry: entry[:5])
    return name, of_digits(model.to_dict(), width), max(SIDE, stride)


def config_of(model: dict, side: int, epochs: int, work_dir: Path) -> Config:
    """The recipe of the digits for another model."""
    cfg = Config.fromfile(ROOT / RECIPE)
    cfg.model = model
    resize = dict(type='Resize', scale=(side, side), interpolation='bilinear')
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        *steps, pack = (step for step in dataset.pipeline if step.type != 'Resize')
        dataset.pipeline = [*steps, resize, pack]
    cfg.train_dataloader.update(batch_size=BATCH)
    cfg.train_dataloader.sampler.update(multiple_of=BATCH)
    cfg.param_scheduler.update(warmup_epochs=epochs / 10, max_epochs=epochs)
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    cfg.custom_hooks[0].update(momentum=0.05)
    cfg.optim_wrapper.optimizer.fused = True
    # Steps of quantised weights are small themselves
    cfg.optim_wrapper.paramwise_cfg.custom_keys = dict(alpha=dict(lr_mult=0.03))
    cfg.default_hooks.checkpoint.update(save_best=None, interval=epochs)
    cfg.visualizer = dict(type='Visualizer')
    cfg.log_level = 'WARNING'
    cfg.work_dir = str(work_dir)
    cfg.launcher = 'none'
    # The runner writes it into the folder under this name
    return Config(cfg.to_dict(), cfg.text, f'{work_dir.name}.py')


@torch.no_grad()
def inspect(model: nn.Module, runner: Runner) -> tuple[float, float]:
    """Mean spikes of an output, and milliseconds an image, on the test images."""
    model.eval()
    spikes = outputs = images = seconds = 0.0
    for batch in runner.test_dataloader:
        batch = model.data_preprocessor(batch, False)
        start = time.perf_counter()
        model(**batch, mode='predict')
        seconds += time.perf_counter() - start
        images += len(batch['data_samples'])
        with recording(model, SpikingNeuron, lambda x: (x.sum().item(), x.numel())) as calls:
            model(**batch, mode='predict')
        neurons = dict(model.named_modules())
        for name, entries in calls.items():
            spikes += sum(total for total, _ in entries) / neurons[name].unit
            outputs += sum(count for _, count in entries)
    return spikes / outputs, 1000 * seconds / images


def train(family: str, args: argparse.Namespace) -> Result:
    """Trains, tests and measures a family's network, on one core."""
    torch.set_num_threads(1)
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    # What mmengine prints beside its log would be a line of no known family
    with redirect_stdout(StringIO()), DefaultScope.overwrite_default_scope('mmpretrain'):
        return _train(family, args)


def _train(family: str, args: argparse.Namespace) -> Result:
    name, model, side = smallest(family, args.width)
    cfg = config_of(model, side, args.epochs, args.work_dir / family)
    runner = launch.build_runner(cfg)
    start = time.perf_counter()
    runner.model.init_weights()
    batch = next(iter(runner.build_dataloader(cfg.train_dataloader)))
    batch = runner.model.data_preprocessor(batch)
    awaken(runner.model.backbone, batch['inputs'], 0.45 if is_graded(model['backbone']) else 1.5)
    runner.train()
    seconds = time.perf_counter() - start
    # The average of the weights, which the checkpoint holds, is what is tested
    runner.load_checkpoint(str(args.work_dir / family / f'epoch_{args.epochs}.pth'))
    accuracy = runner.test()['accuracy/top1']
    rate, milliseconds = inspect(runner.model, runner)
    operations = count_operations(runner.model, (3, side, side))
    return Result(
        family,
        name,
        accuracy,
        operations.parameters,
        rate,
        sum(operations.accumulates.values()),
        sum(operations.multiply_accumulates.values()),
        milliseconds,
        seconds,
    )


def draw(results: list[Result], least: float, path: Path) -> None:
    """A bar for each family in each panel."""
    panels = {
        'test accuracy, %': [r.accuracy for r in results],
        'parameters, thousands': [r.parameters / 1e3 for r in results],
        'spikes per output': [r.firing_rate for r in results],
        'accumulates, millions': [r.accumulates / 1e6 for r in results],
        'multiply-accumulates, millions': [r.multiply_accumulates / 1e6 for r in results],
        'ms per image': [r.milliseconds for r in results],
    }
    figure, axes = plt.subplots(
        1, len(panels), sharey=True, figsize=(16, 1.4 + 0.4 * len(results)), layout='constrained'
    )
    names = [r.family for r in results]
    for axis, (title, values) in zip(axes, panels.items()):
        bars = axis.barh(names, values, color='#7aa6d6')
        axis.bar_label(bars, fmt='{:.3g}', fontsize=8, padding=2)
        axis.margins(x=0.2)
        axis.set_title(title, fontsize=10)
    axes[0].axvline(least, color='#c44', linewidth=1)
    axes[0].invert_yaxis()
    figure.suptitle('Tiny networks on digits: a check that everything learns, no ranking')
    save_figure(figure, path)


def main() -> None:
    args = parse_args()
    table = Table(title='Tiny networks on digits: a check that everything learns, no ranking')
    for column in (
        'family',
        'config, shrunk',
        'top-1, %',
        'parameters',
        'spikes',
        'AC, M',
        'MAC, M',
        'ms/image',
        'training, s',
    ):
        table.add_column(column, justify='left' if 'f' in column[:6] else 'right', no_wrap=True)
    chosen = args.families
    results, start, workers = {}, time.perf_counter(), min(os.cpu_count(), len(chosen))
    print(f'{len(chosen)} families, {workers} at a time, {args.epochs} epochs each', flush=True)
    with ProcessPoolExecutor(workers, get_context('spawn')) as pool:
        futures = {pool.submit(train, family, args): family for family in chosen}
        for future in as_completed(futures):
            result = future.result()
            results[result.family] = result
            print(
                f'[{len(results)}/{len(chosen)}] {result.family}: {result.accuracy:.1f} % in '
                f'{result.seconds:.0f} s',
                flush=True,
            )
    seconds = time.perf_counter() - start
    print(f'{seconds:.0f} s in all, {seconds / len(chosen):.0f} s a family')
    results = [results[family] for family in chosen]
    for result in results:
        table.add_row(*result.row())
    with written_whole(args.work_dir / 'zoo.json') as partial:
        partial.write_text(json.dumps([asdict(r) for r in results], indent=2))
    draw(results, args.least, args.work_dir / 'zoo.png')
    Console(width=140).print(table)
    print(f'picture: {args.work_dir / "zoo.png"}')
    if failed := [r.family for r in results if r.accuracy < args.least]:
        raise SystemExit(f'below {args.least:g} %: {", ".join(failed)}')


if __name__ == '__main__':
    main()
