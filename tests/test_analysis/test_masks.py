"""Recorded token masks are those that the attention applies."""

import torch
from mmengine.registry import MODELS
from networks import awaken

from mmqkformer.analysis import record_token_masks


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
    queries = []
    handle = attention.query.register_forward_hook(lambda m, a, out: queries.append(out))
    model(x)
    handle.remove()
    applied = attention.mask(queries[0]).unflatten(2, (8, -1))
    mask = masks['stages.1.blocks.0.attention']
    assert torch.equal(applied[:, :, :, 0], mask)
    assert 0 < mask.mean() < 1
    assert not attention.mask_neuron._forward_hooks
