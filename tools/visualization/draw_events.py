"""Animate recordings of a test set: events, the network's frames, and its prediction over time."""

import argparse

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import SubFigure
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from mmpretrain.apis import get_model
from torch import nn

from mmqkformer.checks import at_least
from mmqkformer.datasets.event_datasets import record_steps
from mmqkformer.datasets.events import Events
from mmqkformer.datasets.events.pictures import (
    OFF,
    ON,
    figure_image,
    polarity_image,
    saturation_of,
    save_animation,
)
from mmqkformer.datasets.layout import check_data_root

POINTS = 4000  # events drawn of a recording, evenly chosen
RIGHT, WRONG = '#1b7f4d', '#c0392b'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the model')
    parser.add_argument('checkpoint', help='trained weights')
    parser.add_argument('--out', default='events.gif', help='animation to write')
    parser.add_argument(
        '--index',
        type=at_least(0),
        nargs='+',
        help='recordings; by default three of different classes',
    )
    return parser.parse_args()


def three_classes(dataset: BaseDataset) -> list[int]:
    """The first recordings of three classes, apart from each other."""
    labels = np.array([dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))])
    present = np.unique(labels)
    chosen = present[np.linspace(0, len(present) - 1, min(3, len(present))).astype(int)]
    return [int(np.flatnonzero(labels == label)[0]) for label in chosen]


def scores_over_time(model: nn.Module, sample: dict) -> np.ndarray:
    """Probabilities ``[T, classes]`` from the mean of the logits of the steps up to each."""
    model.backbone.out = 'spikes'
    with torch.no_grad():
        data = model.data_preprocessor(pseudo_collate([sample]), training=False)
        steps = model.head.forward_steps(model.extract_feat(data['inputs']))[:, 0]
    model.backbone.out = 'rates'
    counts = torch.arange(1, len(steps) + 1)[:, None]
    return (steps.cumsum(0) / counts).softmax(-1).numpy()


def draw_row(
    figure: SubFigure,
    events: Events,
    bounds: np.ndarray,
    frames: np.ndarray,
    scores: np.ndarray,
    classes: list[str],
    label: int,
    t: int,
) -> None:
    """One recording at step t."""
    figure.suptitle(f'{classes[label]}: {len(events):,} events', fontsize=9)
    stream = figure.add_subplot(1, 3, 1, projection='3d')
    height, width = events.sensor_size
    shown = np.arange(0, len(events), max(1, len(events) // POINTS))
    shown = shown[shown < bounds[t + 1]]
    time = (events.t[shown].astype(np.int64) - int(events.t[0])) / 1e3
    colors = np.where(events.p[shown] == 1, ON, OFF)
    stream.scatter(time, events.x[shown], height - 1 - events.y[shown], c=colors, s=0.4)
    stream.set(xlim=(0, max(events.duration / 1e3, 1)), ylim=(0, width), zlim=(0, height))
    stream.set_xlabel('time [ms]', fontsize=7)
    stream.tick_params(labelsize=6)
    stream.set_yticks([])
    stream.set_zticks([])
    stream.view_init(elev=15, azim=-65)

    frame = figure.add_subplot(1, 3, 2)
    frame.imshow(polarity_image(frames[t], saturation_of(frames)), interpolation='nearest')
    frame.set_axis_off()
    frame.set_title(f'frame {t + 1} of {len(frames)}', fontsize=8)

    bars = figure.add_subplot(1, 3, 3)
    predicted = int(scores[t].argmax())
    colors = ['0.75'] * len(classes)
    colors[predicted] = RIGHT if predicted == label else WRONG
    bars.barh(classes, scores[t], color=colors)
    bars.set_xlim(0, 1)
    bars.invert_yaxis()
    bars.tick_params(labelsize=6)
    bars.set_title(f'prediction after {t + 1} steps: {classes[predicted]}', fontsize=8)


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    check_data_root(cfg, ('test_dataloader',))
    model = get_model(cfg, pretrained=args.checkpoint).eval()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    rows = []
    for index in args.index or three_classes(dataset):
        if not 0 <= index < len(dataset):
            raise SystemExit(f'--index {index}: expected 0 to {len(dataset) - 1}')
        steps = record_steps(dataset, index)
        label = dataset.get_data_info(index)['gt_label']
        rows.append((*steps[:3], scores_over_time(model, steps[3]), label))
    classes = list(dataset.metainfo['classes'])
    figure = plt.figure(figsize=(9, 2.6 * len(rows)), layout='constrained')
    images = []
    for t in range(model.backbone.time_steps):
        figure.clear()
        parts = np.atleast_1d(figure.subfigures(len(rows), 1))
        for part, (events, bounds, frames, scores, label) in zip(parts, rows):
            draw_row(part, events, bounds, frames, scores, classes, label, t)
        images.append(figure_image(figure))
    # The last one stays longer
    save_animation([*images, *images[-1:] * 3], args.out, frame_ms=500)
    print(f'picture: {args.out}')


if __name__ == '__main__':
    main()
