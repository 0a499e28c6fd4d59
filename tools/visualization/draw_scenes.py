"""Draw test images with what a detector or a segmentation model sees in them.

Of a detector: boxes of the right class on an object (green), others (red), objects not found
(white, dashed). Of a segmentation model: image, truth and prediction.
"""

import argparse

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image
from torch import Tensor, nn
from torchvision.ops import box_iou, nms

import mmqkformer  # noqa: F401
from mmqkformer.analysis.figures import save_figure
from mmqkformer.checks import at_least, number
from mmqkformer.datasets.layout import check_data_root
from mmqkformer.version import check_framework

RIGHT, WRONG, MISSED = '#38e07b', '#ff4b3a', 'white'
IOU = 0.5


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of mmdet or mmseg')
    parser.add_argument('checkpoint', help='trained weights')
    parser.add_argument('--out', default='scenes.png', help='picture to write')
    parser.add_argument('--images', type=at_least(1), default=12, help='test images to draw')
    parser.add_argument(
        '--score', type=number(0, 1), default=0.3, help='least score of a box drawn'
    )
    return parser.parse_args()


def build(cfg: Config, checkpoint: str) -> tuple[nn.Module, BaseDataset]:
    """The trained model and the test set of a config."""
    init_default_scope(cfg.default_scope)
    if cfg.default_scope == 'mmdet':
        from mmdet.apis import init_detector as init_model
    else:
        from mmseg.apis import init_model
    model = init_model(cfg, checkpoint, device='cpu')
    return model, DATASETS.build(cfg.test_dataloader.dataset)


@torch.no_grad()
def predict(model: nn.Module, sample: dict) -> object:
    return model.test_step(pseudo_collate([sample]))[0]


def read_image(sample: dict) -> np.ndarray:
    with Image.open(sample['data_samples'].img_path) as image:
        return np.asarray(image.convert('RGB'))


def true_boxes(sample: dict) -> tuple[Tensor, Tensor]:
    """Boxes of the objects, in pixels of the image as it is on disk, and their labels."""
    truth = sample['data_samples'].gt_instances
    boxes = getattr(truth.bboxes, 'tensor', truth.bboxes)
    scale = torch.tensor(sample['data_samples'].scale_factor).float().repeat(2)
    return boxes / scale, truth.labels


def draw_box(axis: Axes, box: Tensor, color: str, text: str = '', style: str = '-') -> None:
    left, top, right, bottom = box.tolist()
    size = right - left, bottom - top
    axis.add_patch(Rectangle((left, top), *size, fill=False, ec=color, lw=1.3, ls=style))
    axis.text(left, top - 1, text, color=color, fontsize=7, va='bottom', clip_on=True)


def draw_detections(axis: Axes, model: nn.Module, sample: dict, names: list, score: float) -> None:
    """One image with its boxes; where several lie on one object, the most certain."""
    boxes, labels = true_boxes(sample)
    found = predict(model, sample).pred_instances
    found = found[found.scores >= score]
    found = found[nms(found.bboxes, found.scores, IOU)]
    missing = set(range(len(labels)))
    axis.imshow(read_image(sample))
    for instance in found:
        overlaps = box_iou(instance.bboxes, boxes)[0] if len(boxes) else torch.zeros(0)
        hits = [i for i in missing if overlaps[i] >= IOU and labels[i] == instance.labels[0]]
        missing -= {max(hits, key=lambda i: overlaps[i])} if hits else set()
        text = f'{names[int(instance.labels)]} {float(instance.scores):.2f}'
        draw_box(axis, instance.bboxes[0], RIGHT if hits else WRONG, text)
    for i in missing:
        draw_box(axis, boxes[i], MISSED, names[int(labels[i])], '--')


def draw_detector(model: nn.Module, dataset: BaseDataset, args: argparse.Namespace) -> Figure:
    columns = min(args.images, 4)
    rows = -(-args.images // columns)
    figure, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=(2.6 * columns, 2.7 * rows), layout='constrained'
    )
    figure.suptitle(
        f'boxes with a score of {args.score:g} and more: right class on an object (IoU {IOU:g}) '
        f'green, others red; not found: dashed',
        fontsize=9,
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, i in zip(axes.flat, range(args.images)):
        draw_detections(axis, model, dataset[i], dataset.metainfo['classes'], args.score)
    return figure


def draw_segmentation(model: nn.Module, dataset: BaseDataset, args: argparse.Namespace) -> Figure:
    """Two images a row, each with truth and prediction; pixels without a label are white."""
    rows = -(-args.images // 2)
    figure, axes = plt.subplots(
        rows, 6, squeeze=False, figsize=(10, 1.75 * rows), layout='constrained'
    )
    names, palette = dataset.metainfo['classes'], np.array(dataset.metainfo['palette']) / 255
    colors = ListedColormap(palette)
    colors.set_over('white')
    for axis in axes.flat:
        axis.set_axis_off()
    for i in range(args.images):
        sample = dataset[i]
        prediction = predict(model, sample).pred_sem_seg.data[0]
        truth = sample['data_samples'].gt_sem_seg.data[0]
        image, *maps = axes[i // 2, 3 * (i % 2) : 3 * (i % 2) + 3]
        image.imshow(read_image(sample))
        for axis, title, labels in zip(maps, ('truth', 'prediction'), (truth, prediction)):
            axis.imshow(labels, cmap=colors, vmin=0, vmax=len(names) - 1, interpolation='nearest')
            axis.set_title(title if i < 2 else '', fontsize=8)
    shown = [Rectangle((0, 0), 1, 1, color=color) for color in palette]
    if len(names) <= 20:
        figure.legend(shown, names, loc='outside lower center', ncols=len(names), fontsize=7)
    return figure


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    scope = cfg.get('default_scope')
    if scope not in ('mmdet', 'mmseg'):
        raise SystemExit(f"{args.config}: default_scope={scope!r}, expected 'mmdet' or 'mmseg'")
    check_framework(scope)
    check_data_root(cfg, ('test_dataloader',))
    model, dataset = build(cfg, args.checkpoint)
    args.images = min(args.images, len(dataset))
    draw = draw_detector if scope == 'mmdet' else draw_segmentation
    save_figure(draw(model, dataset, args), args.out)
    print(f'picture: {args.out}')


if __name__ == '__main__':
    main()
