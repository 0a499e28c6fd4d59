"""Segmentation: every config builds, trains a step and predicts; the recipe is as published."""

import pytest
import torch
from dense import SEGMENTATION, build, load, name_of, rates_of, segmentation_samples, total
from mmengine.optim import build_optim_wrapper
from networks import awaken

pytestmark = pytest.mark.seg

# Exact numbers of parameters
PARAMETERS = {
    'fpn_hst-10-384_4xb5-160k_ade20k-512x512': 19_084_294,
    'fpn_hst-10-512_4xb5-160k_ade20k-512x512': 31_619_286,
    'fpn_hst-10-768_4xb5-160k_ade20k-512x512': 67_361_398,
    'fpn_hst-3-128_1xb8_digits': 738_715,
    'fpn_meta-spikeformer-15m_4xb5-160k_ade20k-512x512': 16_472_190,
    'fpn_qsd-s_4xb5-160k_ade20k-512x512': 16_519_414,
    'upernet_hst-10-384_4xb5-160k_ade20k-512x512': 41_036_700,
    'upernet_hst-10-512_4xb5-160k_ade20k-512x512': 54_710_380,
    'upernet_hst-10-768_4xb5-160k_ade20k-512x512': 92_729_868,
}
ADE20K = [path for path in SEGMENTATION if 'ade20k' in path.stem]
SIZE = (51, 77)


def test_every_config_has_its_count():
    assert sorted(PARAMETERS) == [path.stem for path in SEGMENTATION]


@pytest.mark.parametrize('path', SEGMENTATION, ids=name_of)
def test_config_builds_trains_a_step_and_predicts(path):
    cfg = load(path)
    model = build(cfg)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[path.stem]
    images = torch.randn(2, 3, *SIZE)
    strides = [4, 8, 16] if 'hst' in path.stem else [2, 4, 8, 16]
    features = model.extract_feat(images)
    assert [tuple(level.shape[-2:]) for level in features] == [
        tuple(-(-side // stride) for side in SIZE) for stride in strides
    ]
    assert [level.size(-3) for level in features] == list(cfg.model.decode_head.in_channels)
    if 'feature_strides' in cfg.model.decode_head:
        assert cfg.model.decode_head.feature_strides == strides

    loss = total(model.train()(images, segmentation_samples(2, SIZE), mode='loss'))
    loss.backward()
    assert loss.isfinite()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []

    model.eval()
    with torch.no_grad():
        results = model(images, segmentation_samples(2, SIZE), mode='predict')
    classes = cfg.model.decode_head.num_classes
    assert [r.seg_logits.data.shape for r in results] == [(classes, *SIZE)] * 2


# The larger backbones are tested as classifiers
@pytest.mark.parametrize(
    'path', [p for p in SEGMENTATION if 'hst-10-384' in p.stem or 'digits' in p.stem], ids=name_of
)
def test_images_of_a_batch_are_independent(path):
    model = build(load(path)).double()
    images = torch.randn(3, 3, *SIZE, dtype=torch.float64)
    awaken(model.backbone, images)
    model.eval()
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)
    assert (together[0] - together[1]).abs().max() > 1e-6


@pytest.mark.parametrize('path', ADE20K, ids=name_of)
def test_the_published_recipe(path):
    cfg = load(path)
    assert 4 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 20
    assert cfg.train_cfg.max_iters == 160_000
    assert cfg.crop_size == (512, 512) == tuple(cfg.model.data_preprocessor.size)
    wrapper = build_optim_wrapper(build(cfg), cfg.optim_wrapper)
    assert type(wrapper.optimizer).__name__ == 'AdamW'
    assert {group['lr'] for group in wrapper.optimizer.param_groups} == {1e-4}
    if 'upernet_hst-10-384' not in path.stem:
        assert cfg.param_scheduler == load(ADE20K[0]).param_scheduler
        return
    rates = rates_of(cfg)
    assert rates[0] == pytest.approx(1e-10)
    assert rates[750] == pytest.approx(0.5e-4, rel=0.01)
    for i in (1500, 40_000, 159_000):
        share = (i - 1500) / 158_500
        assert rates[i] == pytest.approx(1e-4 * (1 - share) ** 0.9, rel=1e-3)
