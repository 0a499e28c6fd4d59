"""Draw the digits that a model was tested on, its predictions and its Q-K token masks."""

import argparse

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import SubFigure
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from mmpretrain.apis import get_model
from torch import Tensor

import mmqkformer  # noqa: F401
from mmqkformer.analysis import record_attention
from mmqkformer.analysis.figures import save_figure
from mmqkformer.analysis.pictures import draw_overlays
from mmqkformer.checks import at_least

RIGHT, WRONG = '#1b7f4d', '#c0392b'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the model')
    parser.add_argument('checkpoint', help='trained weights')
    parser.add_argument('--out', default='digits.png', help='picture to write')
    parser.add_argument(
        '--sample', type=at_least(0), default=0, help='test image whose masks are drawn'
    )
    return parser.parse_args()


def draw_predictions(figure: SubFigure, images: list, labels: list[int], scores: Tensor) -> None:
    """A grid of test images, every mistake among them first."""
    predicted = scores.argmax(1).tolist()
    mistakes = [i for i, (p, y) in enumerate(zip(predicted, labels)) if p != y]
    rest = [i for i in range(len(labels)) if i not in set(mistakes)]
    shown = (mistakes + rest)[:40]
    right = len(labels) - len(mistakes)
    figure.suptitle(
        f'{right} of {len(labels)} test images right ({100 * right / len(labels):.2f} %); '
        f'mistakes first: prediction (label)'
    )
    axes = figure.subplots(4, 10)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, i in zip(axes.flat, shown):
        axis.imshow(images[i][..., 0], cmap='gray_r')
        wrong = predicted[i] != labels[i]
        axis.set_title(
            f'{predicted[i]} ({labels[i]})' if wrong else str(predicted[i]),
            color=WRONG if wrong else RIGHT,
            fontsize=9,
            pad=2,
        )


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    model = get_model(cfg, pretrained=args.checkpoint)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    if not 0 <= args.sample < len(dataset):
        raise SystemExit(f'--sample {args.sample}: expected 0 to {len(dataset) - 1}')
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    images, labels = [info['img'] for info in infos], [info['gt_label'] for info in infos]
    with torch.no_grad():
        results = model.test_step(pseudo_collate([dataset[i] for i in range(len(dataset))]))
    scores = torch.stack([result.pred_score for result in results])
    one = pseudo_collate([dataset[args.sample]])
    attentions = record_attention(model.backbone, lambda: model.test_step(one))
    maps = {
        f'{name.replace(".blocks.", ".")}\n{a.map.size(2)} heads': a.received()
        for name, a in attentions.items()
        if a.over == 'tokens'
    }

    figure = plt.figure(figsize=(11, 9), layout='constrained')
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 0.9])
    draw_predictions(top, images, labels, scores)
    bottom.suptitle(
        f'Q-K token masks of test image {args.sample} over time: '
        'share of heads that let a token pass'
    )
    draw_overlays(bottom, images[args.sample][None], maps, range(model.backbone.time_steps))
    save_figure(figure, args.out)
    print(f'picture: {args.out}')


if __name__ == '__main__':
    main()
