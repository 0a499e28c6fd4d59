"""Configs of mmdet and mmseg: where they are, and how they are built and fed."""

from pathlib import Path

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

ROOT = Path(__file__).resolve().parents[2]
DETECTION = sorted((ROOT / 'configs' / 'detection').glob('*.py'))
SEGMENTATION = sorted((ROOT / 'configs' / 'segmentation').glob('*.py'))


def name_of(path):
    return path.stem


def load(path):
    """A config without its pretrained weights, which are no part of the project."""
    cfg = Config.fromfile(path)
    cfg.model.backbone.pop('init_cfg', None)
    return cfg


def build(cfg):
    """The model of a config, for the CPU: SyncBN trains on accelerators only."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return revert_sync_batchnorm(MODELS.build(cfg.model))


def detection_samples(sizes, padded, masks=True):
    """One object an image, within the part of it that is no padding."""
    samples = []
    for height, width in sizes:
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(height, width),
                ori_shape=(height, width),
                pad_shape=padded,
                batch_input_shape=padded,
                scale_factor=(1.0, 1.0),
            )
        )
        box = torch.tensor([[4.0, 6.0, width * 0.6, height * 0.7]])
        sample.gt_instances = InstanceData(bboxes=box, labels=torch.tensor([3]))
        if masks:
            from mmdet.structures.mask import BitmapMasks

            mask = torch.zeros(1, *padded, dtype=torch.uint8)
            mask[:, 6 : int(height * 0.7), 4 : int(width * 0.6)] = 1
            sample.gt_instances.masks = BitmapMasks(mask.numpy(), *padded)
        samples.append(sample)
    return samples


def segmentation_samples(count, size):
    samples = []
    for _ in range(count):
        shapes = dict(img_shape=size, ori_shape=size, pad_shape=size)
        labels = torch.zeros(1, *size, dtype=torch.long)
        labels[:, : size[0] // 2] = 3
        sample = SegDataSample(metainfo=shapes)
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return samples


def total(losses):
    """The sum of what a model's ``mode='loss'`` returns under names with 'loss'."""
    values = [v for key, value in losses.items() if 'loss' in key for v in _listed(value)]
    return torch.stack([v.mean() for v in values]).sum()


def _listed(value):
    return value if isinstance(value, (list, tuple)) else [value]


def rates_of(cfg, epoch_length=None):
    """The learning rate of every iteration."""
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-4))
    schedulers = []
    for arguments in cfg.param_scheduler:
        arguments = dict(arguments)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            cls = PARAM_SCHEDULERS.get(arguments.pop('type'))
        if arguments.pop('convert_to_iter_based', False):
            build = cls.build_iter_from_epoch
            schedulers.append(build(wrapper, epoch_length=epoch_length, **arguments))
        else:
            schedulers.append(cls(wrapper, **arguments))
    rates = []
    for _ in range(cfg.train_cfg.get('max_iters') or cfg.train_cfg.max_epochs * epoch_length):
        rates.append(wrapper.param_groups[0]['lr'])
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates
