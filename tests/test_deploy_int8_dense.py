"""Backbones and necks of mmdet and mmseg in int8."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from networks import awaken
from test_deploy_int8 import int8_layers
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmqkformer.analysis import recording
from mmqkformer.deploy import to_int8
from mmqkformer.layers.rep_conv import BorderNorm
from mmqkformer.neurons import SpikingNeuron
from mmqkformer.version import check_framework

CONFIGS = Path(__file__).parents[1] / 'configs'


@pytest.mark.parametrize(
    ('path', 'scope'),
    [
        pytest.param(
            'detection/mask-rcnn_qsd-s_spiking-fpn_1x_coco.py', 'mmdet', marks=pytest.mark.det
        ),
        pytest.param(
            'segmentation/fpn_qsd-s_4xb5-160k_ade20k-512x512.py',
            'mmseg',
            marks=[pytest.mark.seg, pytest.mark.slow],
        ),
    ],
)
def test_a_quantised_backbone_with_its_neck(path, scope):
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIGS / path).model
    check_framework(scope)
    with DefaultScope.overwrite_default_scope(scope):
        model = nn.Sequential(MODELS.build(cfg.backbone), MODELS.build(cfg.neck))
    images = torch.randn(1, 3, 64, 96)
    awaken(model, images)
    net, left = to_int8(model, lambda model: model(images))
    assert '0.stages.0.embed.convs.0.conv' in left
    # 136 convolutions of the classifier's backbone behind the first, half of them behind neurons
    assert len(left) == len(int8_layers(net)) + 1 == 69
    norms = {m for m in net.modules() if isinstance(m, _BatchNorm)}
    assert norms == {m.norm for m in net.modules() if isinstance(m, BorderNorm)}
    with torch.no_grad(), recording(model, SpikingNeuron) as expected:
        levels = model(images)
    with torch.no_grad(), recording(net, SpikingNeuron) as found:
        same = net(images)
    assert [level.shape for level in same] == [level.shape for level in levels]
    # Behind the first flip others follow; the first neurons have none to follow
    first = list(expected)[:3]
    for name in first:
        (ours,), (theirs,) = found[name], expected[name]
        assert theirs.any()
        assert (ours != theirs).float().mean() < 1e-3
