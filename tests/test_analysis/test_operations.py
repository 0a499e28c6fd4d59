"""Operations by kind, against counts by hand."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmqkformer.analysis import count_operations

# One stage of 8 channels at stride 2 on 8 x 8 pixels: the tokens are 4 x 4
T, N, C = 3, 16, 8


class Model(nn.Module):
    """A backbone with an analogue layer behind its rates."""

    def __init__(self, time_steps=T, **kwargs):
        super().__init__()
        self.backbone = MODELS.build(
            dict(
                type='QKFormer',
                arch=dict(
                    embed_dims=[C],
                    depths=[1],
                    num_heads=[2],
                    mlp_ratios=[2],
                    attentions=['SpikingSelfAttention'],
                    stem=dict(channels=[4, C], pools=[False, True], shortcut_from=1),
                    pool='last',
                ),
                time_steps=time_steps,
                **kwargs,
            )
        )
        self.lateral = nn.Conv2d(C, 5, 1)

    def forward(self, x, mode):
        assert mode == 'tensor'
        return self.lateral(self.backbone(x)[0])


def of_convolutions(counts):
    return counts.accumulates['aten.convolution'], counts.multiply_accumulates['aten.convolution']


def test_counts_by_hand():
    counts = count_operations(Model(), (3, 8, 8))
    # The stem's first convolution sees the image once, then 64 pixels at every step
    first = 64 * 4 * 3 * 9
    stem = T * (64 * C * 4 * 9 + 16 * C * 4)  # the 3 x 3 layer, and the shortcut at half size
    attention = T * N * 4 * C * C
    mlp = T * N * 2 * C * 2 * C
    accumulates, analogue = of_convolutions(counts)
    assert analogue == first + N * 5 * C
    assert accumulates == stem + attention + mlp
    # K V^T and its product with Q, d = 4 channels in each of 2 heads
    assert counts.accumulates['aten.bmm'] == T * 2 * 2 * N * 4 * 4
    assert set(counts.multiply_accumulates) == {'aten.convolution'}
    assert counts.total == accumulates + analogue + counts.accumulates['aten.bmm']
    assert counts.parameters == sum(p.numel() for p in Model().parameters())


def test_every_layer_behind_one_step_of_spikes_accumulates():
    """With T = 1 rates are spikes, and so is what the first analogue layer takes."""
    _, analogue = of_convolutions(count_operations(Model(time_steps=1), (3, 8, 8)))
    assert analogue == 64 * 4 * 3 * 9


def test_frames_of_events_are_counts():
    model = Model(time_steps=2, in_channels=2)
    _, analogue = of_convolutions(count_operations(model, (2, 2, 8, 8)))
    assert analogue == N * 5 * C


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_the_weights_do_not_matter(value):
    """A silent network, or weights of whole numbers, would look like spikes."""
    model = Model()
    expected = count_operations(Model(), (3, 8, 8))
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    assert count_operations(model, (3, 8, 8)) == expected


def test_hooks_are_gone_afterwards():
    model = Model()
    count_operations(model, (3, 8, 8))
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(model(x, 'tensor'), model(x, 'tensor'))
