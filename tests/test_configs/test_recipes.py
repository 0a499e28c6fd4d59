"""Recipes of a table: schedule in closed form, batch, optimizer, augmentation."""

import math

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
    starts, _ = rates(cfg, 6)
    (start, peak, last), (warmup, epochs) = recipe['rates'], recipe['epochs']
    assert effective_batch(name, cfg) == recipe['batch']
    assert cfg.optim_wrapper.optimizer.type == recipe['optimizer']
    if step := recipe.get('step'):
        assert starts == pytest.approx([peak * 0.1 ** (epoch // step) for epoch in range(epochs)])
        return
    # By iteration the cosine begins behind the warm-up and nothing follows; by epoch, timm's
    # begins at epoch 0, and 10 more epochs follow at the minimum
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
    assert ('RandomErasing' in pipeline) == ('mix' not in recipe)
    assert 'DrawErasing' not in pipeline
    assert ('batch_augments' in cfg.data_preprocessor) == ('mix' in recipe)


@pytest.mark.parametrize('name', MIXING)
def test_mixing_and_the_test_crop(name):
    cfg, (*mixes, prob) = load(name), recipe_of(name)['mix']
    augments = cfg.data_preprocessor.batch_augments
    assert [(a.type, a.alpha) for a in augments.augments] == mixes
    assert augments.probs == [prob / 2] * 2
    # 95 % of the short edge
    _, resize, crop, _ = cfg.test_dataloader.dataset.pipeline
    assert (resize.scale, crop.crop_size) == (235, 224)


def test_sdts_loss_on_events_is_that_of_every_time_step():
    head = load('sdt_v1/sdt-v1-2-256-t10_1xb32_cifar10dvs').model.head
    assert (head.loss_on, head.mse_weight, head.mse_target) == ('steps', 1e-3, 1.0)
