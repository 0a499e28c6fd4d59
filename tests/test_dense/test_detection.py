"""Detection: every config builds, trains a step and predicts; the recipe is as published."""

from types import SimpleNamespace

import pytest
import torch
from dense import DETECTION, build, detection_samples, load, name_of, rates_of, total
from mmengine.optim import build_optim_wrapper
from networks import awaken

from mmqkformer.engine import NonFiniteLossError, NonFiniteLossHook

pytestmark = pytest.mark.det

# Exact numbers of parameters
PARAMETERS = {
    'mask-rcnn_hst-10-384_fpn_1x_coco': 37_050_720,
    'mask-rcnn_hst-10-384_peds-fpn_1x_coco': 42_560_864,
    'mask-rcnn_hst-10-512_fpn_1x_coco': 49_880_624,
    'mask-rcnn_hst-10-768_fpn_1x_coco': 86_212_560,
    'mask-rcnn_meta-spikeformer-15m_spiking-fpn_1x_coco': 34_863_320,
    'mask-rcnn_qsd-m_spiking-fpn_1x_coco': 75_819_520,
    'mask-rcnn_qsd-s_spiking-fpn_15e_coco_release': 34_910_544,
    'mask-rcnn_qsd-s_spiking-fpn_1x_coco': 34_910_544,
    'retinanet_hst-10-384_fpn_1x_coco': 25_945_188,
    'retinanet_hst-10-384_peds-fpn_1x_coco': 31_750_244,
    'retinanet_hst-10-512_fpn_1x_coco': 38_766_900,
    'retinanet_hst-10-768_fpn_1x_coco': 75_082_452,
    'retinanet_hst-3-128_fpn_digits': 771_534,
}
COCO = [path for path in DETECTION if path.stem.endswith('coco')]
# Neither a multiple of the strides nor square; the second image is padded
PADDED, SIZES = (67, 99), [(67, 99), (50, 60)]


def head_of(cfg):
    """The head that sees every level."""
    return cfg.model.get('rpn_head') or cfg.model.bbox_head


def test_every_config_has_its_count():
    assert sorted(PARAMETERS) == [path.stem for path in DETECTION]


@pytest.mark.parametrize('path', DETECTION, ids=name_of)
def test_config_builds_trains_a_step_and_predicts(path):
    cfg = load(path)
    model = build(cfg)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[path.stem]
    images = torch.randn(2, 3, *PADDED)
    masks = 'mask-rcnn' in path.stem
    features = model.extract_feat(images)
    strides = head_of(cfg).anchor_generator.strides
    if 'release' in path.stem:
        strides = [4, 8, 16, 16, 32]  # it is told others, see test_spiking_dense.py
    expected = [tuple(-(-side // stride) for side in PADDED) for stride in strides]
    assert [tuple(level.shape[-2:]) for level in features] == expected
    assert {level.size(-3) for level in features} == {head_of(cfg).in_channels}

    loss = total(model.train()(images, detection_samples(SIZES, PADDED, masks), mode='loss'))
    loss.backward()
    assert loss.isfinite()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []

    model.eval()
    with torch.no_grad():
        results = model(images, detection_samples(SIZES, PADDED, masks), mode='predict')
    assert len(results) == 2
    assert all(hasattr(r.pred_instances, 'masks') == masks for r in results)


# The larger backbones are tested as classifiers
@pytest.mark.parametrize(
    'path', [p for p in DETECTION if '384' in p.stem or 'digits' in p.stem], ids=name_of
)
def test_images_of_a_batch_are_independent(path):
    model = build(load(path)).double()
    images = torch.randn(3, 3, 70, 101, dtype=torch.float64)
    awaken(model.backbone, images)
    if isinstance(model.neck, torch.nn.Sequential):
        awaken(model.neck[0], model.backbone(images))
    model.eval()
    with torch.no_grad():
        together = model.extract_feat(images)
        alone = [model.extract_feat(image[None]) for image in images]
    for level, *single in zip(together, *alone):
        torch.testing.assert_close(level, torch.cat(single), rtol=0, atol=1e-9)
    assert (together[0][0] - together[0][1]).abs().max() > 1e-6


@pytest.mark.parametrize('path', [p for p in COCO if 'peds' in p.stem], ids=name_of)
def test_levels_of_stride_4_to_64_are_spiking_before_the_fpn(path):
    model = build(load(path))
    spiking, fpn = model.neck
    images = torch.randn(1, 3, 128, 192)
    awaken(model.backbone, images)
    awaken(spiking, model.backbone(images))
    levels = spiking(model.backbone(images))
    assert [level.shape[-2:] for level in levels] == [
        (128 // stride, 192 // stride) for stride in (4, 8, 16, 32, 64)
    ]
    assert [level.size(1) for level in levels] == list(fpn.in_channels)
    # Means over T = 4 steps of whole numbers of spikes
    for level in levels:
        assert level.any()
        torch.testing.assert_close(4 * level, (4 * level).round(), rtol=0, atol=1e-6)


@pytest.mark.parametrize('path', COCO, ids=name_of)
def test_the_published_recipe(path):
    cfg = load(path)
    assert cfg.train_cfg.max_epochs == 12
    assert 4 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 12
    model = build(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    assert type(wrapper.optimizer).__name__ == 'AdamW'
    groups = wrapper.optimizer.param_groups
    assert {group['lr'] for group in groups} == {1e-4}
    stages = {f'backbone.stages.{i}' for i in range(len(model.backbone.stages))}
    assert {group['name'] for group in groups} == {*stages, 'others'}
    decays = {p: group['weight_decay'] for group in groups for p in group['params']}
    for name, parameter in model.named_parameters():
        if name.endswith(('.alpha', '_scale')):
            assert decays[parameter] == 0, name
    length = 1000
    rates = rates_of(cfg, length)
    assert rates[0] == pytest.approx(1e-7)
    for i in (500, 3000, 6000, 11000):
        assert rates[i] == pytest.approx(1e-4 * (1 - i / (12 * length)) ** 0.9, rel=1e-3)
    assert rates[250] == pytest.approx(1e-4 * (0.001 + 0.999 * 250 / 499), rel=0.03)


def test_an_image_that_is_not_finite_is_named():
    """Losses of mmdet are lists; the optimizer step is made before anything is looked at."""
    (path,) = [path for path in DETECTION if 'digits' in path.stem]
    model = build(load(path)).train()
    samples = detection_samples(SIZES, PADDED, masks=False)
    for i, sample in enumerate(samples):
        sample.set_metainfo(dict(img_id=i, img_path=f'{i}.jpg'))
    batch = dict(inputs=[torch.rand(3, *size) * 255 for size in SIZES], data_samples=samples)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='AdamW', lr=1e-3)))
    run = SimpleNamespace(
        model=model, optim_wrapper=wrapper, iter=4, epoch=0, seed=0, work_dir='here'
    )
    hook = NonFiniteLossHook()
    hook.after_train_iter(run, 4, batch, model.train_step(batch, wrapper))
    batch['inputs'][1][0, 20, 20] = float('nan')
    with pytest.raises(NonFiniteLossError) as raised:
        hook.after_train_iter(run, 4, batch, model.train_step(batch, wrapper))
    message = str(raised.value)
    assert 'inputs: img_id=1 img_path=1.jpg; the run stops' in message
    assert 'that is not finite is that of backbone.stages.0.embed.convs.0.conv' in message
