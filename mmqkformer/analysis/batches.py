"""Made-up training batches of the shapes that a config trains on."""

import math
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

# More than an image of COCO has on average, as many as a detector returns
BOXES = 100


def training_size(cfg: Config) -> tuple[int, int]:
    """Height and width of the images that a config trains on.

    They are what the last transform of the training pipeline that states a size makes: a crop, or
    a resize, of several scales or choices the largest. If none does, images have the size of the
    data set, which the test pipeline states.

    Args:
        cfg (Config): A config with a ``train_dataloader``.

    Raises:
        ValueError: No transform states a size.
    """
    for loader in ('train_dataloader', 'test_dataloader'):
        dataset = cfg.get(loader, {}).get('dataset', {})
        while 'dataset' in dataset:
            dataset = dataset['dataset']
        if size := _last_size(dataset.get('pipeline', [])):
            return size
    raise ValueError(
        'train_dataloader.dataset.pipeline: no transform states the size of the images, nor of '
        'test_dataloader: expected --size HEIGHT WIDTH'
    )


def _last_size(pipeline: Sequence[dict]) -> tuple[int, int] | None:
    return next(filter(None, map(_stated_size, reversed(pipeline))), None)


def _stated_size(transform: dict) -> tuple[int, int] | None:
    if transform['type'] == 'RandomChoice':
        sizes = filter(None, map(_last_size, transform['transforms']))
        return max(sizes, key=math.prod, default=None)
    if transform['type'] == 'EventsToFrames':
        return _pair(transform['size']) if transform.get('size') else None
    if 'crop_size' in transform:
        return _pair(transform['crop_size'])
    scales = transform.get('scales', transform.get('scale'))
    if scales is None:
        return None
    several = isinstance(scales, Sequence) and isinstance(scales[0], Sequence)
    width, height = max(map(_pair, scales if several else [scales]), key=lambda s: s[0] * s[1])
    growth = max(transform.get('ratio_range', [1.0]))
    return round(height * growth), round(width * growth)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def sample_shape(model: nn.Module, size: tuple[int, int]) -> tuple[int, ...]:
    """Shape of what a model's preprocessor takes: ``[3, H, W]``, or frames ``[T, 2, H, W]``.

    Args:
        model (nn.Module): A model of mmpretrain, mmdet or mmseg.
        size (tuple[int, int]): Height and width.
    """
    polarities = getattr(model.data_preprocessor, 'polarities', None)
    return (3, *size) if polarities is None else (model.backbone.time_steps, polarities, *size)


def training_batch(scope: str, shape: tuple[int, ...], images: int) -> dict:
    """A batch as the data loader of a framework gives it.

    Args:
        scope (str): ``mmpretrain``, ``mmdet`` or ``mmseg``.
        shape (tuple[int, ...]): Shape of a sample: ``[3, H, W]``, or frames ``[T, 2, H, W]``.
        images (int): Number of samples.

    Returns:
        dict: ``inputs``, random, and ``data_samples``. An image of a detector has 100 boxes with
        masks, more than most of COCO, as many as count.
    """
    frames = len(shape) == 4
    inputs = [
        torch.randn(shape) if frames else torch.randint(256, shape, dtype=torch.uint8)
        for _ in range(images)
    ]
    make = dict(mmdet=_detection_sample, mmseg=_segmentation_sample).get(scope, _class_sample)
    samples = [make(shape[-2:]) for _ in range(images)]
    if scope not in ('mmdet', 'mmseg'):
        inputs = torch.stack(inputs)
    return dict(inputs=inputs, data_samples=samples)


def _class_sample(size: tuple[int, int]) -> object:
    from mmpretrain.structures import DataSample

    return DataSample(metainfo=dict(img_shape=size, ori_shape=size)).set_gt_label(0)


def _segmentation_sample(size: tuple[int, int]) -> object:
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, *size, dtype=torch.long))
    return sample


def _detection_sample(size: tuple[int, int]) -> object:
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    sample = DetDataSample(
        metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size, scale_factor=(1.0, 1.0))
    )
    boxes = _boxes(size)
    masks = torch.zeros(BOXES, *size, dtype=torch.uint8).numpy()
    sample.gt_instances = InstanceData(
        bboxes=boxes, labels=torch.zeros(BOXES, dtype=torch.long), masks=BitmapMasks(masks, *size)
    )
    return sample


def _boxes(size: tuple[int, int]) -> Tensor:
    """Boxes of 4 pixels to half an image, everywhere: ``[100, 4]``."""
    limits = torch.tensor(size[::-1])
    extent = (4.0 + torch.rand(BOXES, 2) * limits / 2).minimum(limits)
    corner = torch.rand(BOXES, 2) * (limits - extent)
    return torch.cat([corner, corner + extent], dim=1)
