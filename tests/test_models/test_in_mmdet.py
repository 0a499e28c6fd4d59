"""The README's lines in a stock mmdet config: a training step and a prediction."""

import re
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

SIZE = (67, 93)
META = dict(
    img_shape=SIZE, pad_shape=SIZE, ori_shape=SIZE, batch_input_shape=SIZE, scale_factor=(1, 1)
)
README = Path(__file__).parents[2] / 'README.md'


def readme_config():
    """The fragment under the heading about mmdet, without its pretrained weights."""
    section = README.read_text().split('## As a backbone')[1]
    code = re.search(r'```python\n(.*?)```', section, re.S)[1]
    cfg = Config.fromstring(code, '.py')
    cfg.model.backbone.pop('init_cfg')
    return cfg


def samples(count):
    boxes = torch.tensor([[4.0, 6.0, 40.0, 50.0]])
    for _ in range(count):
        sample = DetDataSample(metainfo=META)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([3]))
        yield sample


@pytest.mark.parametrize('with_cp', [False, True])
def test_retinanet_trains_and_predicts(with_cp):
    cfg = get_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    cfg.merge_from_dict(readme_config())
    cfg.model.backbone.with_cp = with_cp
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        images = torch.randn(2, 3, 67, 93)
        losses = model(images, list(samples(2)), mode='loss')
        total = sum(torch.stack(loss).sum() for loss in losses.values())
        total.backward()
        assert total.isfinite()
        unused = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        # RetinaNet's FPN begins at stride 8: the first stage feeds only the ones behind it
        assert unused == []
        predictions = model.eval()(images, list(samples(2)), mode='predict')
    assert len(predictions) == 2
