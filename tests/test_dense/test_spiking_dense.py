"""Necks and heads of dense prediction that fire: parameters, equations, time, wrong configs."""

import copy
import sys

import pytest
import torch
from dense import DETECTION, SEGMENTATION, build, detection_samples, load, name_of, total
from mmcv_operators import STAND_IN
from mmengine.registry import MODELS, TASK_UTILS
from networks import awaken
from torch import nn
from torch.nn import functional as F

from mmqkformer.models import SpikingFPN
from mmqkformer.models.spikes import SpikeFeatures

LIF = dict(type='LIFNeuron', tau=2.0)
ILIF = dict(type='ILIFNeuron', levels=4, decay=0.0)
det, seg = pytest.mark.det, pytest.mark.seg
MASK_RCNN = [path for path in DETECTION if 'spiking-fpn' in path.stem]
PER_PART = {  # of the 15 M base, without steps and layer scales
    'backbone': 14_751_208,
    'neck': 2_568_192,
    'rpn_head': 593_935,
    'roi_head.bbox_head': 14_306_705,
    'roi_head.mask_head': 2_643_280,
}


@pytest.fixture(autouse=True)
def suppression_in_float64(monkeypatch):
    """mmcv's own, where it is built with operators, takes float32 alone."""
    if 'mmcv.ops.nms' in sys.modules:
        monkeypatch.setattr(sys.modules['mmcv.ops.nms'], 'ext_module', STAND_IN)


def find(paths, *words):
    return next(path for path in paths if all(word in path.stem for word in words))


def small(path, time_steps=1):
    """The model of a config with one block a stage, its images, awake, in float64."""
    cfg = load(path)
    cfg.model.backbone.arch = dict(base=cfg.model.backbone.arch, depths=[1, 1, 1, 1, 1])
    cfg.model.backbone.time_steps = time_steps
    model = build(cfg).double()
    images = torch.randn(3, 3, 67, 99, dtype=torch.float64)
    awaken(model.backbone, images)
    return model.eval(), images


def parameters(module):
    """Without steps and layer scales."""
    extra = ('.alpha', '_scale')
    return sum(p.numel() for name, p in module.named_parameters() if not name.endswith(extra))


@det
@pytest.mark.parametrize('path', [p for p in MASK_RCNN if 'qsd-m' not in p.stem], ids=name_of)
def test_mask_rcnns_parts_have_the_releases_parameters(path):
    with torch.device('meta'):
        model = build(load(path))
    assert {name: parameters(model.get_submodule(name)) for name in PER_PART} == PER_PART
    assert parameters(model) == sum(PER_PART.values()) == 34_863_320


@det
def test_the_wider_detector():
    with torch.device('meta'):
        model = build(load(find(DETECTION, 'qsd-m')))
    assert parameters(model.backbone) == 30_852_864
    assert parameters(model) == 30_852_864 + 44_898_160


@seg
@pytest.mark.parametrize('name', ['fpn_qsd-s', 'fpn_meta-spikeformer-15m'])
def test_semantic_fpns_parts_have_the_releases_parameters(name):
    with torch.device('meta'):
        model = build(load(find(SEGMENTATION, name)))
    assert parameters(model.neck) == 667_648
    assert parameters(model.decode_head) == 1_053_334
    assert parameters(model) == 16_472_190


@det
def test_strides_of_the_network_and_of_the_release():
    corrected = load(find(DETECTION, 'qsd-s', '1x')).model
    released = load(find(DETECTION, 'release')).model
    strides = {}
    for name, model in dict(corrected=corrected, released=released).items():
        anchors = TASK_UTILS.build(dict(model.rpn_head.anchor_generator, _scope_='mmdet'))
        extractors = [model.roi_head[f'{part}_roi_extractor'] for part in ('bbox', 'mask')]
        assert extractors[0].featmap_strides == extractors[1].featmap_strides
        strides[name] = [s[0] for s in anchors.strides], extractors[0].featmap_strides
        # Anchors are of 32 to 512 pixels either way
        sides = [base[1, 2:] - base[1, :2] for base in anchors.base_anchors]
        assert [side[0].item() for side in sides] == [32, 64, 128, 256, 512]
    assert strides['corrected'] == ([4, 8, 16, 16, 32], [4, 8, 16, 16])
    assert strides['released'] == ([4, 8, 16, 32, 64], [4, 8, 16, 32])


@det
def test_the_releases_recipe():
    cfg = load(find(DETECTION, 'release'))
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.optimizer == dict(
        type='AdamW', lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05
    )
    warmup, steps = cfg.param_scheduler
    assert (warmup.end, warmup.start_factor) == (1000, 0.001)
    assert (steps.milestones, steps.gamma, cfg.train_cfg.max_epochs) == ([8, 11], 0.1, 15)
    assert cfg.train_dataloader.batch_size == 8
    assert cfg.train_dataloader.dataset.pipeline[2].scale == (853, 512)


@pytest.mark.parametrize('norm_cfg', [None, dict(type='BN')])
def test_the_neck_is_its_equation(norm_cfg):
    torch.manual_seed(0)
    neck = SpikingFPN([3, 4, 5], 6, ILIF, num_outs=5, norm_cfg=norm_cfg).double().eval()
    sizes = [(9, 7), (5, 4), (5, 4)]
    levels = [
        2 * torch.randn(2, 3, channels, *size, dtype=torch.float64)
        for channels, size in zip((3, 4, 5), sizes)
    ]
    found = neck(tuple(level.as_subclass(SpikeFeatures) for level in levels))
    assert all(isinstance(level, SpikeFeatures) for level in found)

    def unit(layer, x):
        x = F.conv2d(
            x.clamp(0, 4).round(), layer.conv.weight, layer.conv.bias, padding=layer.conv.padding
        )
        return x if norm_cfg is None else layer.norm(x)

    for t in range(2):
        lateral = [unit(layer, x[t]) for layer, x in zip(neck.lateral_convs, levels)]
        lateral[1] = lateral[1] + lateral[2]
        lateral[0] = lateral[0] + F.interpolate(lateral[1], (9, 7), mode='nearest')
        expected = [unit(layer, x) for layer, x in zip(neck.fpn_convs, lateral)]
        expected.append(F.max_pool2d(expected[-1], 1, 2))
        expected.append(F.max_pool2d(expected[-1], 1, 2))
        for level, wanted in zip(found, expected, strict=True):
            step = level.as_subclass(torch.Tensor)[t]
            torch.testing.assert_close(step, wanted, rtol=0, atol=1e-12)
    neck.out = 'mean'
    for mean, level in zip(neck(tuple(levels)), found):
        torch.testing.assert_close(mean, level.as_subclass(torch.Tensor).mean(0))


def test_what_the_neck_does_not_take():
    neck = SpikingFPN([3, 4], 6, LIF)
    with pytest.raises(
        ValueError, match=r'takes streams .*, got \[2, 3, 8, 8\]: set backbone\.out'
    ):
        neck((torch.zeros(2, 3, 8, 8), torch.zeros(2, 4, 4, 4)))
    with pytest.raises(ValueError, match=r'neck\.in_channels=\[3, 4\]: the inputs have \[3, 3\]'):
        neck((torch.zeros(1, 2, 3, 8, 8), torch.zeros(1, 2, 3, 4, 4)))
    for change, match in [
        (dict(num_outs=1), r'neck\.num_outs=1: expected an integer from 2 to 16'),
        (dict(in_channels=[]), r'neck\.in_channels=\[\]: expected at least one level'),
        (dict(out='rates'), r"neck\.out='rates': expected 'stream' or 'mean'"),
        (dict(neuron=dict(type='BN')), r"neck\.neuron\.type='BN'"),
        (dict(norm_cfg=dict(type='nobody')), r"neck\.norm_cfg\.type='nobody'"),
    ]:
        cfg = dict(type='SpikingFPN', in_channels=[3, 4], out_channels=6, neuron=LIF)
        with pytest.raises(ValueError, match=f'^{match}'):
            MODELS.build({**cfg, **change})
    quantised = MODELS.build(
        dict(type='SpikingFPN', in_channels=[3], out_channels=6, neuron=LIF, quant=dict(type='LSQ'))
    )
    assert any(name.endswith('alpha') for name, _ in quantised.named_parameters())


@det
@pytest.mark.parametrize('name', ['qsd-s_spiking-fpn_1x', 'meta-spikeformer-15m'])
def test_heads_of_the_detector_see_spikes_and_average_their_outputs(name):
    """What every step gives, one after another, and its mean."""
    path = find(DETECTION, name)
    model, images = small(path, time_steps=3)
    levels = model.extract_feat(images)
    heads = [model.rpn_head, model.roi_head.bbox_head, model.roi_head.mask_head]
    unseen = check_that_inputs_are_counts(heads)
    rois = torch.tensor([[0.0, 3, 4, 40, 50], [2, 0, 0, 90, 60], [1, 20, 9, 22, 11]]).double()
    with torch.no_grad():
        scores, _ = model.rpn_head(levels)
        assert [x.shape for x in scores] == [(3, 3, *x.shape[-2:]) for x in levels]
        regions = model.roi_head.bbox_roi_extractor(first_images(levels[:4]), rois)
        steps = [
            super(
                type(model.roi_head.bbox_roi_extractor), model.roi_head.bbox_roi_extractor
            ).forward(tuple(plain(x)[t] for x in levels[:4]), rois)
            for t in range(3)
        ]
        assert torch.equal(regions, torch.stack(steps))
        # Neurons without a memory: the mean of the steps, each alone
        if 'qsd' in name:
            for head in heads[1:]:
                each = [head(regions[t : t + 1]) for t in range(3)]
                found = head(regions)
                for i in range(len(found)) if isinstance(found, tuple) else [None]:
                    value = found if i is None else found[i]
                    mean = sum(e if i is None else e[i] for e in each) / 3
                    torch.testing.assert_close(value, mean, rtol=0, atol=1e-9)
        model.roi_head.bbox_head(regions), model.roi_head.mask_head(regions)
    assert unseen == []


def plain(x):
    return x.as_subclass(torch.Tensor)


def first_images(levels):
    return tuple(plain(x).transpose(0, 1) for x in levels)


def check_that_inputs_are_counts(heads):
    """Has every layer but the predictors of boxes check its input; returns those that have not."""
    (unit,) = {m.unit for head in heads for m in head.modules() if hasattr(m, 'unit')}
    layers = [
        module
        for head in heads
        for name, module in head.named_modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
        and name not in ('fc_cls', 'fc_reg')
    ]

    def check(layer, args):
        counts = plain(args[0]) / unit
        assert torch.equal(counts, counts.round())
        layers.remove(layer) if layer in layers else None

    for layer in [*layers]:
        layer.register_forward_pre_hook(check)
    return layers


@det
@pytest.mark.parametrize('name', ['qsd-s_spiking-fpn_1x', 'meta-spikeformer-15m'])
def test_images_of_a_batch_are_independent_to_the_last_box(name):
    model, images = small(find(DETECTION, name), time_steps=2)
    model.test_cfg.rcnn.score_thr = 0.0
    # mmdet pastes masks in float32 only
    model.roi_head.mask_head = None
    samples = detection_samples([(67, 99)] * 3, (67, 99), masks=False)
    with torch.no_grad():
        together = model(images, copy.deepcopy(samples), mode='predict')
        for i, image in enumerate(images):
            (alone,) = model(image[None], copy.deepcopy(samples[i : i + 1]), mode='predict')
            found, wanted = together[i].pred_instances, alone.pred_instances
            assert len(found) > 0
            torch.testing.assert_close(found.bboxes, wanted.bboxes, rtol=0, atol=1e-9)
            torch.testing.assert_close(found.scores, wanted.scores, rtol=0, atol=1e-9)


@det
def test_time_and_more_images_than_steps_train():
    """mmdet takes features apart by image, on the first axis."""
    model, images = small(find(DETECTION, 'meta-spikeformer-15m'), time_steps=2)
    samples = detection_samples([(67, 99)] * 3, (67, 99))
    loss = total(model.train()(images, samples, mode='loss'))
    loss.backward()
    assert loss.isfinite()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@det
def test_no_region_at_all():
    model, images = small(find(DETECTION, 'qsd-s_spiking-fpn_1x'), time_steps=2)
    levels = first_images(model.extract_feat(images)[:4])
    none = model.roi_head.bbox_roi_extractor(levels, torch.zeros(0, 5).double())
    assert none.shape == (2, 0, 256, 7, 7)
    scores, boxes = model.roi_head.bbox_head(none)
    assert (scores.shape, boxes.shape) == ((0, 81), (0, 320))


@seg
def test_the_head_of_segmentation_is_its_equation():
    model, images = small(find(SEGMENTATION, 'qsd-s'), time_steps=1)
    head = model.decode_head
    levels = model.extract_feat(images)
    unseen = check_that_inputs_are_counts([head])
    with torch.no_grad():
        found = head(levels)
        assert unseen == []

        def fire(x):
            return x.clamp(0, 4).round() / 4

        total = 0
        for i, x in enumerate(plain(level)[0] for level in levels):
            for layer in head.scale_heads[i]:
                x = layer(fire(x)) if hasattr(layer, 'conv') else layer(x)
            if i:
                x = F.interpolate(x, total.shape[-2:], mode='bilinear', align_corners=False)
            total = total + x
        expected = head.conv_seg(fire(total))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert found.std() > 1e-3


@det
@pytest.mark.parametrize(
    ('part', 'change', 'match'),
    [
        ('rpn_head', dict(neuron=dict(type='BN')), r"rpn_head\.neuron\.type='BN'"),
        ('rpn_head', dict(num_convs=2), r'rpn_head\.num_convs=2: SpikingRPNHead knows no such'),
        ('bbox_head', dict(neuron=3), r'roi_head\.bbox_head\.neuron=3'),
        ('bbox_head', dict(with_avg_pool=True), r'roi_head\.bbox_head\.with_avg_pool=True: Spik'),
        ('mask_head', dict(neuron=dict(type='LIFNeuron', taus=2)), r'.*mask_head\.neuron\.taus=2'),
        ('mask_head', dict(nonsense=1), r'roi_head\.mask_head\.nonsense=1: SpikingMaskHead knows'),
    ],
)
def test_a_wrong_key_of_a_head_is_named(part, change, match):
    model = load(find(DETECTION, 'qsd-s_spiking-fpn_1x')).model
    parent = model if part == 'rpn_head' else model.roi_head
    with pytest.raises(ValueError, match=f'^{match}'):
        MODELS.build(dict(parent[part], _scope_='mmdet', **change))


@seg
def test_a_wrong_key_of_the_head_of_segmentation_is_named():
    head = load(find(SEGMENTATION, 'qsd-s')).model.decode_head
    for change, match in [
        (dict(act_cfg=dict(type='ReLU')), r'decode_head\.act_cfg=.*: SpikingFPNHead knows no such'),
        (dict(neuron=dict(type='nobody')), r"decode_head\.neuron\.type='nobody'"),
    ]:
        with pytest.raises(ValueError, match=f'^{match}'):
            MODELS.build({**head, '_scope_': 'mmseg', **change})


@det
def test_levels_without_time_are_refused():
    head = load(find(DETECTION, 'qsd-s_spiking-fpn_1x')).model.rpn_head
    rpn = MODELS.build(dict(head, _scope_='mmdet'))
    with pytest.raises(ValueError, match=r'rpn_head fires .* got \[2, 256, 8, 8\]: set neck\.out='):
        rpn((torch.zeros(2, 256, 8, 8),))


@det
def test_a_stock_head_takes_the_mean_of_the_neck():
    neck = SpikingFPN([4, 8], 256, LIF, out='mean')
    cfg = load(find(DETECTION, 'mask-rcnn_hst-10-384_fpn')).model.rpn_head
    rpn = MODELS.build(dict(cfg, _scope_='mmdet'))
    levels = neck((torch.randn(2, 3, 4, 8, 8), torch.randn(2, 3, 8, 4, 4)))
    assert [x.shape for x in rpn(levels)[0]] == [(3, 3, 8, 8), (3, 3, 4, 4)]
    stream = SpikingFPN([4, 8], 256, LIF)
    with pytest.raises(ValueError, match='conv2d'):
        rpn(stream((torch.randn(2, 3, 4, 8, 8), torch.randn(2, 3, 8, 4, 4))))
