"""Look at the recordings of a config's data set: frames as the network sees them, and event rates.

``browse_events.py CONFIG`` writes one strip a recording, ``--format gif`` animates the frames.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from mmengine.config import Config, DictAction
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, init_default_scope
from tqdm import tqdm

from mmqkformer.analysis.figures import save_figure
from mmqkformer.checks import at_least
from mmqkformer.datasets.event_datasets import record_steps
from mmqkformer.datasets.events import Events
from mmqkformer.datasets.events.pictures import (
    draw_rates,
    figure_image,
    polarity_image,
    saturation_of,
    save_animation,
)
from mmqkformer.datasets.layout import check_data_root
from mmqkformer.datasets.seeding import SAMPLES, seed_everything


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument(
        '--index',
        type=at_least(0),
        nargs='+',
        help='recordings to draw; by default --number over the set',
    )
    parser.add_argument('--number', type=at_least(1), default=5, help='how many to draw')
    parser.add_argument(
        '--format', choices=['png', 'gif'], default='png', help='strip or animation'
    )
    parser.add_argument('--out-dir', default='work_dirs/events', help='folder to write into')
    parser.add_argument('--seed', type=at_least(0), default=0, help='seed of the augmentation')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='overrides of the config, key=value; a list is key="[a,b]" or key=a,b',
    )
    return parser.parse_args()


def title(dataset: BaseDataset, index: int, events: Events) -> str:
    label = dataset.get_data_info(index)['gt_label']
    return (
        f'{index}: {dataset.metainfo["classes"][label]}, {len(events):,} events in '
        f'{events.duration / 1e6:.2f} s, {events.sensor_size[0]} x {events.sensor_size[1]} pixels'
    )


def draw_strip(name: str, events: Events, starts: np.ndarray, frames: np.ndarray) -> plt.Figure:
    """All frames in rows of eight, the rates below."""
    columns = min(len(frames), 8)
    rows = -(-len(frames) // columns)
    figure = plt.figure(figsize=(1.5 * columns + 0.5, 1.7 * rows + 2.4), layout='constrained')
    figure.suptitle(name)
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.7 * rows, 2])
    saturation = saturation_of(frames)
    axes = top.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for t, (axis, frame) in enumerate(zip(axes, frames)):
        axis.imshow(polarity_image(frame, saturation), interpolation='nearest')
        axis.set_title(f't = {t + 1}: {int(frame.sum()):,}', fontsize=8, pad=2)
    draw_rates(bottom.subplots(), events, starts)
    return figure


def draw_animation(name: str, events: Events, starts: np.ndarray, frames: np.ndarray) -> list:
    """One image a frame: the frame, and the rates with its slice of time marked."""
    figure = plt.figure(figsize=(6, 6.4), layout='constrained')
    saturation = saturation_of(frames)
    ends = [*starts[1:], events.duration]
    images = []
    for t, (frame, start, end) in enumerate(zip(frames, starts, ends)):
        figure.clear()
        figure.suptitle(name, fontsize=9)
        top, bottom = figure.subplots(2, 1, height_ratios=[2.4, 1])
        top.set_axis_off()
        top.imshow(polarity_image(frame, saturation), interpolation='nearest')
        top.set_title(f't = {t + 1} of {len(frames)}: {int(frame.sum()):,} events', fontsize=9)
        draw_rates(bottom, events)
        bottom.axvspan(start / 1e3, end / 1e3, color='0.9', zorder=0)
        images.append(figure_image(figure))
    plt.close(figure)
    return images


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    loader = f'{args.split}_dataloader'
    check_data_root(cfg, (loader,))
    dataset = DATASETS.build(cfg[loader].dataset)
    spread = np.linspace(0, len(dataset) - 1, min(args.number, len(dataset))).astype(int)
    for index in tqdm(args.index or [int(i) for i in spread], desc='recordings'):
        if not 0 <= index < len(dataset):
            raise SystemExit(f'--index {index}: expected 0 to {len(dataset) - 1}')
        seed_everything(SAMPLES, args.seed, index)
        events, bounds, frames, _ = record_steps(dataset, index)
        starts = events.t[np.minimum(bounds[:-1], len(events) - 1)].astype(np.int64)
        starts -= int(events.t[0])
        name = title(dataset, index, events)
        out = Path(args.out_dir) / f'{args.split}_{index:05d}.{args.format}'
        if args.format == 'gif':
            images = draw_animation(name, events, starts, frames)
            save_animation(images, out, frame_ms=max(20, events.duration // 1000 // len(frames)))
        else:
            figure = draw_strip(name, events, starts, frames)
            save_figure(figure, out)
            plt.close(figure)
        tqdm.write(f'picture: {out}')


if __name__ == '__main__':
    main()
