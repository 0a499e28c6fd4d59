"""Time how fast training data are loaded, by config, worker and transform.

The data are made on the spot and loaded by the config's own pipeline: JPEG files of 500 x 375
pixels cut from two photographs, images of 32 x 32 from the same, recordings of the event camera in
software, scikit-learn's digits. Loaders with one and with two workers take turns; beside them,
one process loads alone and times each transform. The checksum of a recording is compared at the
first reading, before anything is timed. `card` is what a V100 takes of ImageNet, as published.
"""

import argparse
import copy
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from interleaved import device_name, take_turns, write
from many_gpus import LOGS
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_sample_images
from train_step import measure

from mmqkformer.analysis.figures import save_figure
from mmqkformer.checks import at_least
from mmqkformer.datasets.event_datasets import CIFAR10DVS, DVS128Gesture
from mmqkformer.datasets.events.camera import EventCamera, film_image
from mmqkformer.datasets.events.film import film_gesture
from mmqkformer.datasets.events.store import StoreWriter, encode
from mmqkformer.datasets.samplers import SeededIndex
from mmqkformer.version import check_framework

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'qkformer'
DEFAULTS = (
    'hst-10-384_8xb64_in1k',
    'hst-4-384_1xb64_cifar10',
    'hst-4-384_1xb64_cifar100',
    'hst-2-256-t16_1xb16_cifar10dvs',
    'hst-2-256-t16_1xb16_dvs128',
    'hst-3-128_1xb64_digits',
)
# Height and width of ImageNet's commonest images, and Pillow's quality: files of about 100 kB
PHOTO, QUALITY = (375, 500), 97
# How often a filmed picture passes its path: recordings of about 200,000 events
LOOPS = 4


class Listed(BaseDataset):
    """Images of CIFAR's size, or files of ImageNet's kind, from a list."""

    def __init__(self, infos: list[dict], pipeline: list) -> None:
        self.infos = infos
        super().__init__(pipeline=pipeline)

    def load_data_list(self) -> list[dict]:
        return self.infos


@dataclass
class Loading:
    """How one config's training data are loaded.

    Attributes:
        config (str): Name.
        alone (float): Samples a second of one process without workers.
        workers (dict[int, list[float]]): Samples a second of each round, by number of workers.
        stages (dict[str, float]): Milliseconds of a sample in each transform, and in `info`, the
            entry of the data set: the median of the rounds.
        model (float | None): Samples a second that a training step takes here, if timed.
        card (float | None): Images a second that a V100 takes, where that is published.
    """

    config: str
    alone: float
    workers: dict[int, list[float]]
    stages: dict[str, float]
    model: float | None
    card: float | None


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config',
        nargs='*',
        type=Path,
        default=[CONFIGS / f'{name}.py' for name in DEFAULTS],
        help='config files of QKFormer by default',
    )
    parser.add_argument('--batches', type=at_least(1), default=8, help='of a round')
    parser.add_argument('--batch', type=at_least(1), help="instead of the config's batch size")
    parser.add_argument('--rounds', type=at_least(1), default=5)
    parser.add_argument('--workers', type=at_least(1), nargs='+', default=[1, 2])
    parser.add_argument(
        '--events', type=at_least(1), default=200_000, help='of a recording at most'
    )
    parser.add_argument(
        '--duration', type=at_least(1), default=2_400_000, help='of a recording in microseconds'
    )
    parser.add_argument('--films', type=at_least(1), default=8, help='that recordings repeat')
    parser.add_argument(
        '--step', type=at_least(1), help='images of a training step that is timed too'
    )
    parser.add_argument('--json', type=Path, help='file to write the measurements to')
    parser.add_argument('--figure', type=Path, help='file to draw the chart to')
    return parser.parse_args()


def patches(count: int, height: int, width: int) -> Iterator[np.ndarray]:
    """RGB windows of photographs ``[height, width, 3]``, at places drawn from a fixed seed."""
    photos, rng = load_sample_images().images, np.random.default_rng(0)
    for i in range(count):
        photo = photos[i % len(photos)]
        top = rng.integers(photo.shape[0] - height + 1)
        left = rng.integers(photo.shape[1] - width + 1)
        yield np.ascontiguousarray(photo[top : top + height, left : left + width])


def write_photos(folder: Path, count: int) -> list[dict]:
    """Writes JPEG files, and returns their entries."""
    infos = []
    for i, photo in enumerate(patches(count, *PHOTO)):
        path = folder / f'{i}.jpg'
        Image.fromarray(photo).save(path, quality=QUALITY)
        infos.append(dict(img_path=str(path), gt_label=0))
    return infos


def write_recordings(folder: Path, count: int, kind: type, args: argparse.Namespace) -> None:
    """Films pictures, or gestures, and writes a store of so many recordings."""
    camera = EventCamera(kind.SENSOR_SIZE)
    many = min(count, args.films)
    films = []
    for i, image in enumerate(track(list(patches(many, 375, 375)), description='films')):
        if kind is DVS128Gesture:
            film = film_gesture(i % 11, camera, args.duration, seed=i, max_events=args.events)
        else:
            film = film_image(image, camera, args.duration, LOOPS, seed=i, max_events=args.events)
        films.append((0, len(film), film.duration, encode(film, f'film {i}')))
    files = [f'{i}.aedat' for i in range(count)]
    classes = list(kind.METAINFO['classes'])
    meta = dict(sensor_size=kind.SENSOR_SIZE, classes=classes, source='', split='train')
    writer = StoreWriter(folder / 'train', meta, files)
    for i, file in enumerate(files):
        writer.add([(file, *films[i % len(films)])])
    writer.finish()


def dataset_of(cfg: dict, folder: Path, count: int, args: argparse.Namespace) -> BaseDataset:
    """A config's data set with other data.

    Args:
        cfg (dict): ``train_dataloader.dataset``.
        folder (Path): For what is made.
        count (int): Samples, at most.
        args (argparse.Namespace): Of this tool.

    Returns:
        BaseDataset: A data set of the same pipeline.

    Raises:
        ValueError: Its kind of data cannot be made here.
    """
    name, pipeline = cfg['type'], cfg['pipeline']
    if name == 'ImageNet':
        return Listed(write_photos(folder, count), pipeline)
    if name in ('BGRCIFAR10', 'BGRCIFAR100'):
        return Listed([dict(img=image, gt_label=0) for image in patches(count, 32, 32)], pipeline)
    if name == 'Digits':
        dataset = DATASETS.build(cfg)
        return dataset.get_subset(range(min(count, len(dataset))))
    kind = DATASETS.get(name)
    if kind in (CIFAR10DVS, DVS128Gesture):
        write_recordings(folder, count, kind, args)
        return DATASETS.build(dict(cfg, data_root=str(folder)))
    raise ValueError(
        f'train_dataloader.dataset.type={name!r}: expected ImageNet, BGRCIFAR10, '
        'BGRCIFAR100, CIFAR10DVS, DVS128Gesture or Digits'
    )


def stages_of(dataset: BaseDataset, count: int) -> dict[str, float]:
    """Milliseconds of a sample in the entry of the data set and in each of its transforms."""
    seconds: Counter[str] = Counter()
    for i in range(count):
        start = time.perf_counter()
        sample = dataset.get_data_info(i)
        sample['sample_idx'] = SeededIndex(i, 0, 0)
        stages = [('info', start, time.perf_counter())]
        for transform in dataset.pipeline.transforms:
            start = time.perf_counter()
            sample = transform(sample)
            stages.append((type(transform).__name__, start, time.perf_counter()))
        for name, start, end in stages:
            seconds[name] += end - start
    return {name: 1000 * total / count for name, total in seconds.items()}


def pass_over(loader: torch.utils.data.DataLoader) -> None:
    """Loads an epoch."""
    for _ in loader:
        pass


def load(path: Path, args: argparse.Namespace) -> Loading:
    """Measures one config."""
    cfg = Config.fromfile(path)
    scope = cfg.get('default_scope', 'mmengine')
    check_framework(scope)
    loader = cfg.train_dataloader
    loader.batch_size = args.batch or loader.batch_size
    loader.sampler.multiple_of = loader.batch_size
    count = args.batches * loader.batch_size
    with tempfile.TemporaryDirectory() as folder, DefaultScope.overwrite_default_scope(scope):
        dataset = dataset_of(loader.dataset, Path(folder), count, args)
        samples = len(dataset) // loader.batch_size * loader.batch_size
        loaders = {
            workers: Runner.build_dataloader(
                dict(
                    copy.deepcopy({k: v for k, v in loader.items() if k != 'dataset'}),
                    dataset=dataset,
                    num_workers=workers,
                    persistent_workers=True,
                ),
                seed=0,
            )
            for workers in args.workers
        }
        calls = {str(workers): partial(pass_over, one) for workers, one in loaders.items()}
        times = take_turns(calls, args.rounds, path.stem)
        del loaders, calls
        passes = [stages_of(dataset, samples) for _ in range(args.rounds + 1)][1:]
        stages = {name: median(one[name] for one in passes) for name in passes[0]}
        size = tuple(dataset[SeededIndex(0, 0, 0)]['inputs'].shape[-2:])
    model = None
    if args.step:
        batch = {'train_dataloader.batch_size': args.step}
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        step = measure(
            str(path),
            argparse.Namespace(cfg_options=batch, size=size, device=device, steps=2, warmup=1),
        )
        model = 1000 * args.step / median(step.milliseconds)
    published = next((LOGS[arch] for arch in LOGS if path.stem.startswith(f'{arch}_8x')), None)
    return Loading(
        config=path.stem,
        alone=1000 / sum(stages.values()),
        workers={int(w): [samples / s for s in one.seconds] for w, one in times.items()},
        stages=stages,
        model=model,
        card=published and published[0] / published[1],
    )


def draw(found: list[Loading], path: Path) -> None:
    """Draws the time of a sample, stage by stage."""
    figure = Figure(figsize=(9, 1 + 0.5 * len(found)), layout='constrained')
    axes = figure.subplots()
    names = list(dict.fromkeys(name for one in found for name in one.stages))
    configs, left = [one.config for one in found], np.zeros(len(found))
    for i, name in enumerate(names):
        width = np.array([one.stages.get(name, 0) for one in found])
        axes.barh(configs, width, left=left, label=name, color=f'C{i % 10}', alpha=1 - i // 10 / 2)
        left += width
    axes.invert_yaxis()
    axes.set_xlabel('ms a sample')
    figure.legend(loc='outside right center', fontsize='small')
    axes.set_title(f'{device_name()}, torch {torch.__version__}', fontsize='small')
    save_figure(figure, path)


def main() -> None:
    args = parse_args()
    found = [load(path, args) for path in args.config]
    title = f'training samples a second; {device_name()}, torch {torch.__version__}'
    table = Table(title=title)
    columns = (
        'alone',
        *(f'{w} worker{"s" * (w > 1)}' for w in args.workers),
        'spread',
        'model',
        'card',
    )
    table.add_column('')
    for column in columns:
        table.add_column(column, justify='right')
    shares = Table(title='ms of a sample')
    for column in ('', 'transform', 'ms', 'share'):
        shares.add_column(column, justify='right' if column in ('ms', 'share') else 'left')
    for one in found:
        rates = [f'{median(one.workers[w]):.0f}' for w in args.workers]
        last = one.workers[args.workers[-1]]
        table.add_row(
            one.config,
            f'{one.alone:.0f}',
            *rates,
            f'{min(last):.0f} to {max(last):.0f}',
            f'{one.model:.1f}' if one.model else '-',
            f'{one.card:.1f}' if one.card else '-',
        )
        total = sum(one.stages.values())
        for name, ms in sorted(one.stages.items(), key=lambda stage: -stage[1]):
            shares.add_row(one.config, name, f'{ms:.3f}', f'{100 * ms / total:.0f} %')
    console = Console(width=140)
    console.print(table)
    console.print(shares)
    write(args.json, title, [asdict(one) for one in found])
    if args.figure is not None:
        draw(found, args.figure)


if __name__ == '__main__':
    main()
