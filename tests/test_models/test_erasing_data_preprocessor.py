"""The mixed, normalised batch is erased, as the release's prefetcher does on CIFAR."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate, pseudo_collate
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.engine.hooks import SwitchRecipeHook
from mmpretrain.structures import DataSample

import mmqkformer  # noqa: F401
from mmqkformer.datasets.samplers import SeededIndex
from mmqkformer.datasets.seeding import ITERATIONS, seed_everything

CONFIGS = Path(__file__).parents[2] / 'configs'
NAMES = [
    'qkformer/hst-4-384_1xb64_cifar10',
    'qkformer/release/hst-4-384_1xb64_cifar100',
    'spikformer/spikformer-4-384_1xb128_cifar100',
]


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def load(name=NAMES[0]):
    return Config.fromfile(CONFIGS / f'{name}.py')


def stock(cfg, **kwargs):
    """mmpretrain's own preprocessor with the config's arguments."""
    return dict(cfg.data_preprocessor, type='ClsDataPreprocessor', **kwargs)


def batch(cfg, count, collate=default_collate):
    """``count`` images of noise through the config's train pipeline."""
    pipeline = Compose(cfg.train_dataloader.dataset.pipeline)
    rng = np.random.default_rng(0)
    samples = [
        dict(
            img=rng.integers(0, 255, (32, 32, 3), dtype=np.uint8),
            gt_label=i % 10,
            sample_idx=SeededIndex(i, 0, 0),
        )
        for i in range(count)
    ]
    return collate([pipeline(sample) for sample in samples])


def prepare(preprocessor, data, training=True):
    """As at iteration 7; images and scores."""
    seed_everything(ITERATIONS, 0, 0, 7)
    out = MODELS.build(preprocessor)(data, training=training)
    return out['inputs'], torch.stack([sample.gt_score for sample in out['data_samples']])


def holes(data, images):
    """Where the samples' boxes are, ``[B, 1, H, W]``."""
    mask = torch.zeros_like(images[:, :1], dtype=torch.bool)
    for i, sample in enumerate(data['data_samples']):
        top, left, height, width = sample.erased_box
        mask[i, :, top : top + height, left : left + width] = True
    return mask


@pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
@pytest.mark.parametrize('name', NAMES)
def test_a_quarter_of_the_mixed_images_loses_one_full_rectangle(name, collate):
    cfg = load(name)
    data = batch(cfg, 400, collate)
    images, scores = prepare(cfg.data_preprocessor, data)
    mixed, mixed_scores = prepare(stock(cfg), batch(cfg, 400, collate))
    # Mixed: most images show two classes
    assert ((mixed_scores > 0).sum(1) == 2).float().mean() > 0.8

    mask = holes(data, images)
    assert mask.flatten(1).any(1).float().mean() == pytest.approx(0.25, abs=0.05)
    assert torch.equal(images, mixed.masked_fill(mask, 0.0))
    # Nothing but these rectangles is 0: none is half-transparent
    assert torch.equal((images == 0).all(1, keepdim=True), mask)
    assert torch.equal(scores, mixed_scores)


def test_nothing_is_erased_in_evaluation():
    cfg = load()
    images, _ = prepare(cfg.data_preprocessor, batch(cfg, 16), training=False)
    expected, _ = prepare(stock(cfg), batch(cfg, 16), training=False)
    assert torch.equal(images, expected)


def test_samples_without_a_box_are_left_as_they_are():
    cfg = load()
    pixels = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    preprocessor = MODELS.build(dict(cfg.data_preprocessor, batch_augments=None))
    plain = MODELS.build(stock(cfg, batch_augments=None))
    for samples in (None, [DataSample().set_gt_label(i) for i in range(3)]):
        data = dict(inputs=pixels, data_samples=samples)
        assert torch.equal(preprocessor(data, True)['inputs'], plain(data, True)['inputs'])


def test_mixed_precision_erases_alike():
    cfg = load()
    images, _ = prepare(cfg.data_preprocessor, batch(cfg, 16))
    with torch.autocast('cpu', torch.bfloat16):
        again, _ = prepare(cfg.data_preprocessor, batch(cfg, 16))
    assert torch.equal(images, again)


def test_the_recipe_switch_ends_mixup_and_leaves_the_erasing():
    cfg = load()

    class Runner:
        class model:
            data_preprocessor = MODELS.build(cfg.data_preprocessor)

    hook = SwitchRecipeHook(schedule=[dict(action_epoch=2, batch_augments=None)])
    hook._switch_batch_augments(Runner, hook.schedule[2]['batch_augments'])
    data = batch(cfg, 64)
    out = Runner.model.data_preprocessor(data, training=True)
    scores = torch.stack([sample.gt_score for sample in out['data_samples']])
    assert torch.equal(scores.max(1).values, torch.ones(64))
    erased = (out['inputs'] == 0).all(1, keepdim=True)
    assert torch.equal(erased, holes(data, out['inputs']))
    assert erased.any()


def test_augmentation_at_test_time_takes_the_configs_preprocessor():
    cfg = load()
    model = dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    tta = MODELS.build(dict(type='AverageClsScoreTTA', module=model)).eval()
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    views = [list(pixels), list(pixels.flip(-1))]
    samples = [[DataSample().set_gt_label(i) for i in range(2)] for _ in views]
    with torch.no_grad():
        first, second = tta.test_step(dict(inputs=views, data_samples=samples))
    assert first.pred_score.sum() == pytest.approx(1.0)
    assert second.gt_label == 1


@pytest.mark.parametrize('kind', ['ErasingDataPreprocessor', 'EventDataPreprocessor'])
def test_a_preprocessor_leaves_its_config_alone(kind):
    """mmpretrain appends to its list of probabilities: a second time it would not build."""
    augments = [dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
    cfg = dict(type=kind, num_classes=3, batch_augments=dict(augments=augments, probs=[0.5, 0.5]))
    before = copy.deepcopy(cfg)
    MODELS.build(cfg)
    assert cfg == before
