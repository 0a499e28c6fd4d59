"""Recipes of a table: schedule in closed form, batch, optimizer, augmentation."""

import math
import re

import pytest
from recipes import RECIPES, TRAINED, effective_batch, load, rates, recipe_of

NAMES = [name for name in TRAINED if recipe_of(name)]
MIXING = [name for name in NAMES if 'mix' in recipe_of(name)]


def test_each_recipe_is_of_some_config():
    found = [recipe_of(name) for name in NAMES]
    assert all(recipe in found for recipe in RECIPES.values())


@pytest.mark.parametrize('name', NAMES)
def test_schedule_and_batch(name):
    cfg, recipe = load(name), recipe_of(name)
    starts, _ = rates(cfg, 24)
    (start, peak, last), (warmup, epochs) = recipe['rates'], recipe['epochs']
    assert effective_batch(name, cfg) == recipe['batch']
    assert cfg.optim_wrapper.optimizer.type == recipe['optimizer']
    if step := recipe.get('step'):
        assert starts == pytest.approx([peak * 0.1 ** (epoch // step) for epoch in range(epochs)])
        return
    # By iteration the cosine begins behind the warm-up and nothing follows; by epoch, timm's
    # begins at epoch 0, and 10 more epochs follow at the minimum unless the recipe says otherwise
    by_iteration = cfg.param_scheduler.get('convert_to_iter_based', False)
    origin, more = (warmup, 0) if by_iteration else (0, recipe.get('cooldown', 10))
    expected = [start + (peak - start) * epoch / warmup for epoch in range(warmup)]
    for epoch in range(warmup, epochs):
        angle = math.pi * (epoch - origin) / (epochs - origin)
        expected.append(last + (peak - last) / 2 * (1 + math.cos(angle)))
    expected = [*expected, *[last] * more][recipe.get('ahead', 0) :]
    assert starts == pytest.approx(expected + [last] * recipe.get('ahead', 0))


@pytest.mark.parametrize('name', [name for name in NAMES if 'crop' in recipe_of(name)])
def test_augmentation_of_imagenet(name):
    cfg, recipe = load(name), recipe_of(name)
    pipeline = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert pipeline['RandomResizedCrop'].get('crop_ratio_range', (0.08, 1.0)) == recipe['crop']
    assert pipeline['RandAugment'].magnitude_level == recipe['magnitude']
    assert pipeline['RandAugment'].num_policies == recipe.get('policies', 2)
    assert ('RandomErasing' in pipeline) == recipe['erase']
    assert 'DrawErasing' not in pipeline
    assert ('batch_augments' in cfg.data_preprocessor) == ('mix' in recipe)
    _, resize, crop, _ = cfg.test_dataloader.dataset.pipeline
    assert (resize.scale, crop.crop_size) == (recipe['edge'], 224)


@pytest.mark.parametrize('name', MIXING)
def test_mixing(name):
    cfg, recipe = load(name), recipe_of(name)
    *mixes, prob = recipe['mix']
    augments = cfg.data_preprocessor.batch_augments
    assert [(a.type, a.alpha) for a in augments.augments] == mixes
    assert augments.probs == [prob / 2] * 2
    # The hook counts epochs from 1
    ends = [
        change['action_epoch'] - 1
        for hook in cfg.get('custom_hooks', [])
        for change in hook.schedule
    ]
    assert ends == ([recipe['mix_until']] if 'mix_until' in recipe else [])


def test_cifar_100_has_its_own_mean_and_std_in_max_former():
    cfg = load('max_former/max-former-4-384_1xb64_cifar100')
    mean, std = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
    assert cfg.data_preprocessor.mean == pytest.approx([255 * x for x in mean])
    assert cfg.data_preprocessor.std == pytest.approx([255 * x for x in std])
    augment = cfg.train_dataloader.dataset.pipeline[2]
    assert augment.hparams.pad_val == [112, 124, 129]


@pytest.mark.parametrize(
    'name', ['sdt_v1/sdt-v1-2-256-t10_1xb32_cifar10dvs', 'stsa/stsa-2-256_1xb32_dvs128']
)
def test_the_loss_is_that_of_every_time_step(name):
    head = load(name).model.head
    assert (head.loss_on, head.mse_weight, head.mse_target) == ('steps', 1e-3, 1.0)


@pytest.mark.parametrize('name', [n for n in NAMES if re.match('qsd/.*cifar100?-128px', n)])
def test_qsds_transfer_resizes_and_mixes(name):
    cfg = load(name)
    augments = cfg.data_preprocessor.batch_augments
    assert [(a.type, a.alpha) for a in augments.augments] == [('Mixup', 0.8), ('CutMix', 1.0)]
    assert augments.probs == [0.5, 0.5]
    assert cfg.data_preprocessor.num_classes == cfg.model.head.num_classes
    for split in ('train', 'test'):
        pipeline = {step.type: step for step in cfg[f'{split}_dataloader'].dataset.pipeline}
        assert pipeline['Resize'].scale == (128, 128)
        assert 'DrawErasing' not in pipeline
    assert pipeline.keys() == {'Resize', 'PackInputs'}
