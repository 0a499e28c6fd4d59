"""Pictures show the arrays that they are given."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from mmengine.registry import MODELS, DefaultScope

from mmqkformer.analysis import Attention, Raster, StageMap, TokenMap
from mmqkformer.analysis.pictures import (
    channels_picture,
    draw_channel_mask,
    draw_overlays,
    draw_raster,
    draw_stage_maps,
    draw_token_attention,
    heads_picture,
    input_pictures,
    overlay,
    overlay_arrays,
    qk_picture,
    query_picture,
)
from mmqkformer.analysis.pictures.overlays import DARKEST, LIGHTEST, NEGATIVE, OPACITY, POSITIVE


def random_spikes(*shape, seed=0):
    return torch.randint(2, shape, generator=torch.Generator().manual_seed(seed)).float()


def token_attention(time_steps=3, heads=2, grid=(8, 6)):
    mask = random_spikes(time_steps, 2, heads, *grid)
    key = random_spikes(time_steps, 2, 4 * heads, *grid, seed=1)
    out = key * mask.repeat_interleave(4, 2)
    return Attention('QKTokenAttention', 'tokens', mask, grid, None, key, out)


def shown(axis):
    return np.asarray(axis.images[0].get_array())


def test_a_token_tints_its_pixels_and_no_others():
    image = np.zeros((2, 4, 3), np.uint8)
    image[:, 2:] = 255
    pixels = overlay(image, np.array([[2.0, 0.0, 1.0, -2.0]]), full=2.0, side=1) / 255
    on, under = np.array(to_rgb(POSITIVE)), np.array(to_rgb(NEGATIVE))
    expected = [
        (1 - OPACITY) * DARKEST + OPACITY * on,
        np.full(3, DARKEST),
        (1 - OPACITY / 2) * LIGHTEST + OPACITY / 2 * on,
        (1 - OPACITY) * LIGHTEST + OPACITY * under,
    ]
    for row in pixels:
        np.testing.assert_allclose(row, expected, atol=0.5 / 255)


def test_small_images_are_enlarged_by_whole_factors_and_large_ones_are_not():
    assert overlay(np.zeros((8, 9, 3), np.uint8), np.ones((2, 3)), 1.0).shape == (112, 126, 3)
    large = overlay(np.zeros((224, 230, 3), np.uint8), np.eye(14), 1.0)
    assert large.shape == (224, 230, 3)
    tinted = (large != large[0, -1]).any(-1)
    assert tinted[:16, :16].all()
    assert not tinted[:16, 17:].any()


def test_overlays_of_a_film_lie_on_their_frames_and_are_means_of_heads():
    film = np.stack([np.full((4, 4, 3), level, np.uint8) for level in (0, 255)])
    values = torch.zeros(2, 1, 2, 2, 2)
    values[1, 0, 0] = 1.0
    pictures = overlay_arrays(film, TokenMap(values, 'mask', is_mask=True), side=4)
    assert (pictures[0] == round(255 * DARKEST)).all()
    expected = (1 - OPACITY / 2) * LIGHTEST + OPACITY / 2 * np.array(to_rgb(POSITIVE))
    np.testing.assert_allclose(pictures[1] / 255, np.broadcast_to(expected, (4, 4, 3)), atol=0.002)
    # Of what is no mask the largest value has the strongest tint
    largest = overlay_arrays(film, TokenMap(values / 8, 'counts'), side=4)[1] / 255
    expected = (1 - OPACITY) * LIGHTEST + OPACITY * np.array(to_rgb(POSITIVE))
    np.testing.assert_allclose(largest[0, 0], expected, atol=0.002)


def test_the_picture_has_a_row_for_each_map_and_a_column_for_each_step():
    image = np.zeros((1, 16, 12, 3), np.uint8)
    maps = {'one': token_attention().received(), 'two': token_attention(grid=(4, 3)).received()}
    figure = Figure()
    draw_overlays(figure, image, maps, range(3), sample=1)
    rows = np.reshape(figure.axes, (3, 4))
    assert [axis.get_title() for axis in rows[0]] == ['t = 1', 't = 2', 't = 3', '']
    for row, token_map in zip(rows[1:], maps.values()):
        expected = overlay_arrays(image, token_map, sample=1)
        for axis, picture in zip(row[:3], expected, strict=True):
            assert np.array_equal(shown(axis), picture)
        assert row[3].get_ylabel() == 'mask Aₜ, mean of the\nheads'
        assert row[3].get_ylim() == (0, 1)
    single = Figure()
    draw_overlays(single, image, maps, [2])
    assert [axis.get_title() for axis in single.axes[::2]] == ['input', 'one', 'two']
    assert np.array_equal(shown(single.axes[4]), overlay_arrays(image, maps['two'])[2])
    with pytest.raises(ValueError, match='expected at least one'):
        draw_overlays(figure, image, {}, range(3))


def test_figure_3_shows_mask_key_and_masked_key():
    attention = token_attention()
    figure = Figure()
    draw_token_attention(figure, *attention.of_head(1, sample=1), range(3))
    rows = np.reshape(figure.axes, (3, 3))
    for t in range(3):
        mask, key, out = (shown(axis) for axis in rows[:, t])
        assert np.array_equal(mask, attention.map[t, 1, 1].reshape(1, 48))
        assert np.array_equal(key, attention.key[t, 1, 4:].reshape(4, 48))
        assert np.array_equal(out, key * mask)
    assert rows[0, 1].get_title() == f't = 2:  mean {float(attention.map[1, 1, 1].mean()):.3f}'


def test_of_many_tokens_figure_3_shows_a_segment():
    attention = token_attention(time_steps=1, grid=(20, 30))
    figure = Figure()
    draw_token_attention(figure, *attention.of_head(0), [0], tokens=100)
    assert np.array_equal(shown(figure.axes[0])[0], attention.map[0, 0, 0].flatten()[250:350])
    assert figure.axes[2].get_xlabel() == 'token (250 to 349; means of all 600)'


def test_a_channel_mask_is_drawn_with_its_mean():
    mask = random_spikes(3, 2, 8, 1, 1)
    attention = Attention('Any', 'channels', mask, (2, 2), None, None, torch.ones(3, 2, 8, 2, 2))
    figure = Figure()
    draw_channel_mask(figure, attention, sample=1)
    left, right = figure.axes
    assert np.array_equal(shown(left), mask[:, 1].reshape(3, 8))
    assert [bar.get_width() for bar in right.patches] == pytest.approx(
        mask[:, 1].flatten(1).mean(1)
    )


def test_stage_maps_end_with_the_mean_over_time():
    mean = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    figure = Figure()
    image = np.zeros((1, 8, 8, 3), np.uint8)
    draw_stage_maps(figure, image, {'stages.0': StageMap('membrane', mean)}, range(3), sample=1)
    drawn = np.reshape(figure.axes, (2, 5))[1]
    for axis, expected in zip(drawn, [*mean[:, 1], mean[:, 1].mean(0)]):
        assert np.array_equal(shown(axis), expected)
    assert drawn[4].get_ylabel().replace('\n', ' ') == 'membrane potential per channel'


@pytest.mark.parametrize('levels', [1, 4])
def test_a_raster_says_how_many_neurons_it_shows(levels):
    spikes = levels * random_spikes(5, 20)
    figure = Figure()
    draw_raster(figure, Raster(spikes, 1000, levels, spikes.mean(1)))
    top, bottom = figure.axes[:2]
    assert top.get_title() == '20 of 1,000 neurons, evenly spaced'
    assert np.array_equal(shown(bottom), spikes.T)
    assert [bar.get_height() for bar in top.patches] == pytest.approx(spikes.mean(1))
    assert len(figure.axes) == (3 if levels > 1 else 2)


def test_images_come_back_from_the_normalised_batch():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        preprocessor = MODELS.build(
            dict(
                type='ClsDataPreprocessor',
                mean=[120.0, 110.0, 100.0],
                std=[60.0, 50.0, 40.0],
                to_rgb=True,
            )
        )
    read = torch.randint(256, (2, 3, 5, 4), generator=torch.Generator().manual_seed(0))
    inputs = preprocessor(dict(inputs=list(read), data_samples=None))['inputs']
    found = input_pictures(preprocessor, inputs)
    assert found.shape == (2, 1, 5, 4, 3)
    # OpenCV reads blue, green, red
    assert np.array_equal(found[:, 0], read.flip(1).movedim(1, -1))


def test_frames_of_events_are_red_and_blue():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        preprocessor = MODELS.build(dict(type='EventDataPreprocessor', add_sum=True))
    frames = torch.zeros(1, 2, 3, 4, 4)
    frames[0, 0, 1, 0, 0] = frames[0, 1, 0, 3, 3] = 5.0
    found = input_pictures(preprocessor, frames)
    assert found.shape == (1, 2, 4, 4, 3)
    on, off = found[0, 0, 0, 0].astype(int), found[0, 1, 3, 3].astype(int)
    assert on[0] > on[2]
    assert off[2] > off[0]
    assert (found[0, 0, 1:] == 255).all()


def test_pictures_are_of_attentions_that_have_what_they_show():
    image, tokens = np.zeros((1, 8, 6, 3), np.uint8), token_attention()
    channels = Attention('Any', 'channels', torch.ones(1, 1, 4, 1, 1), (2, 2), None, None, None)
    assert query_picture(image, 'a', tokens) is None
    assert channels_picture('a', tokens) is None
    assert qk_picture('a', channels) is None
    assert heads_picture(image, 'a', channels) is None
    assert heads_picture(image, 'a', tokens).name == 'heads_a'
    with pytest.raises(ValueError, match='head=2: expected 0 to 1'):
        qk_picture('a', tokens, head=2)
    with pytest.raises(ValueError, match='Any: expected an attention with a mask of tokens'):
        channels.of_head(0)
    with pytest.raises(ValueError, match='QKTokenAttention: expected an attention with a mask of'):
        draw_channel_mask(Figure(), tokens)
    pairs = Attention(
        'Any', 'pairs', torch.ones(1, 1, 1, 48, 48), (8, 6), None, None, torch.ones(1, 1, 4, 8, 6)
    )
    with pytest.raises(ValueError, match='query 8 0: expected a pixel of the 8 x 6 of the input'):
        query_picture(image, 'a', pairs, (8, 0))
