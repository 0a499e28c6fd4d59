"""Firing rates of necks and heads, whose neurons see maps of several sizes."""

import sys

import pytest
import torch
from dense import DETECTION, SEGMENTATION, build, detection_samples, load, segmentation_samples
from mmcv_operators import STAND_IN
from networks import awaken
from spikingjelly.activation_based.monitor import OutputMonitor

from mmqkformer.analysis import firing_rates
from mmqkformer.neurons import SpikingNeuron

SIZE = (64, 96)


@pytest.fixture(autouse=True)
def suppression_in_any_type(monkeypatch):
    if 'mmcv.ops.nms' in sys.modules:
        monkeypatch.setattr(sys.modules['mmcv.ops.nms'], 'ext_module', STAND_IN)


@pytest.mark.parametrize(
    ('paths', 'word'),
    [
        pytest.param(DETECTION, 'mask-rcnn_qsd-s_spiking-fpn_1x', marks=pytest.mark.det),
        pytest.param(SEGMENTATION, 'fpn_qsd-s', marks=[pytest.mark.seg, pytest.mark.slow]),
    ],
)
def test_every_neuron_of_a_dense_model_counts_over_all_its_calls(paths, word):
    cfg = load(next(path for path in paths if path.stem.startswith(word)))
    cfg.model.backbone.arch = dict(base=cfg.model.backbone.arch, depths=[1, 1, 1, 1, 1])
    model = build(cfg)
    inputs = torch.randn(2, 3, *SIZE)
    awaken(model.backbone, inputs)
    model.eval()
    if paths is DETECTION:
        # Few proposals, of which one is as good as another
        model.test_cfg.rpn.max_per_img = 5
        samples = detection_samples([SIZE] * 2, SIZE)
    else:
        samples = segmentation_samples(2, SIZE)
    batch = dict(inputs=inputs, data_samples=samples)
    rates = firing_rates(model, [batch])
    monitor = OutputMonitor(model, SpikingNeuron, lambda spikes: spikes.double())
    with monitor, torch.no_grad():
        model(**batch, mode='tensor')
    assert {layer.group for layer in rates.layers} >= {'neck', 'head', 'attention', 'embedding'}
    assert {layer.name for layer in rates.layers} == set(monitor.monitored_layers)
    calls = {layer.name: monitor[layer.name] for layer in rates.layers}
    assert max(map(len, calls.values())) > 1 or paths is SEGMENTATION
    for layer in rates.layers:
        spikes = torch.cat([call.flatten() for call in calls[layer.name]]) / layer.unit
        assert layer.outputs == spikes.numel()
        assert layer.spikes == round(spikes.sum().item())
