"""Recorded token masks are those that the attention applies, and the picture shows them."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from mmengine.registry import MODELS
from networks import awaken

from mmqkformer.analysis import record_token_masks, recording
from mmqkformer.analysis.pictures import draw_masks


def test_masks_of_every_token_attention():
    x = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = awaken(MODELS.build(dict(type='QKFormer', arch='hst-4-384', time_steps=3)), x)
    masks = record_token_masks(model, lambda: model(x))
    assert {name: tuple(mask.shape) for name, mask in masks.items()} == {
        'stages.0.blocks.0.attention': (3, 2, 8, 16, 24),
        'stages.1.blocks.0.attention': (3, 2, 8, 8, 12),
    }
    attention = model.stages[1].blocks[0].attention
    with recording(attention, 'query') as queries:
        model(x)
    query = queries['query'][0]
    applied = attention.masked(query, torch.ones_like(query)).unflatten(2, (8, -1))
    mask = masks['stages.1.blocks.0.attention']
    assert torch.equal(applied[:, :, :, 0], mask)
    assert 0 < mask.mean() < 1
    assert not attention.attention_map._forward_hooks


def test_a_network_without_token_masks_is_refused():
    with pytest.raises(ValueError, match='chooses no module of Linear'):
        record_token_masks(torch.nn.Linear(2, 2), lambda: None)


def test_the_picture_has_a_row_for_each_attention_and_a_column_for_each_step():
    masks = {
        'stages.0.blocks.0.attention': torch.randint(2, (3, 2, 4, 8, 6)).float(),
        'stages.1.blocks.0.attention': torch.randint(2, (3, 2, 8, 4, 3)).float(),
    }
    figure = Figure()
    draw_masks(figure, np.zeros((16, 12)), masks, sample=1)
    *shown, _ = figure.axes  # and the colour bar
    assert len(shown) == 2 * (1 + 3)
    for row, mask in zip((shown[:4], shown[4:]), masks.values()):
        for t, axis in enumerate(row[1:]):
            assert np.array_equal(axis.images[0].get_array(), mask[t, 1].mean(0))
    assert shown[4].get_title() == 'stages.1.0.attention\n8 heads'
    with pytest.raises(ValueError, match='expected at least one'):
        draw_masks(figure, np.zeros((16, 12)), {})
