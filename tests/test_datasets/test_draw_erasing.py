"""Rectangles to erase: their sizes and places, and that a sample's depends on its seed alone."""

import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, TRANSFORMS
from torch.utils.data import DataLoader

import mmqkformer  # noqa: F401
from mmqkformer.datasets.samplers import SeededSampler


def build(**kwargs):
    return TRANSFORMS.build(dict(type='DrawErasing', **kwargs))


def draw(count, shape, **kwargs):
    """Boxes ``[count, 4]``: top, left, height, width."""
    np.random.seed(0)
    transform = build(**kwargs)
    image = np.zeros((*shape, 3), np.uint8)
    return np.array([transform(dict(img=image))['erased_box'] for _ in range(count)])


def test_as_many_as_asked_for_are_erased():
    boxes = draw(20_000, (32, 32), erase_prob=0.25)
    assert boxes.any(1).mean() == pytest.approx(0.25, abs=0.01)
    assert (boxes[:, 2:].all(1) == boxes.any(1)).all()
    assert not draw(100, (32, 32), erase_prob=0.0).any()


def test_area_and_aspect_are_within_their_ranges():
    """Up to rounding to whole pixels; what would leave the image is drawn again."""
    height, width = draw(5000, (1000, 1200), erase_prob=1.0)[:, 2:].T
    assert height.all()
    area = height * width / (1000 * 1200)
    assert area.min() == pytest.approx(0.02, rel=0.02)
    assert area.max() == pytest.approx(1 / 3, rel=0.02)
    aspect = height / width
    assert aspect.min() == pytest.approx(0.3, rel=0.02)
    assert aspect.max() == pytest.approx(1 / 0.3, rel=0.02)
    # As often upright as lying, where both fit
    small = area < 0.25
    assert np.mean(aspect[small] > 1) == pytest.approx(0.5, abs=0.02)
    assert np.median(np.abs(np.log(aspect[small]))) == pytest.approx(-np.log(0.3) / 2, rel=0.05)


def test_every_place_inside_the_image_is_possible():
    top, left, height, width = draw(20_000, (12, 9), erase_prob=1.0).T
    assert height.max() == 11
    assert width.max() == 8
    assert top.min() == left.min() == 0
    assert (top + height).max() == 12
    assert (left + width).max() == 9


def test_an_image_that_nothing_fits_into_is_left_as_it_is():
    assert not draw(100, (1, 400), erase_prob=1.0).any()


@DATASETS.register_module()
class BlackImages(BaseDataset):
    def load_data_list(self):
        return [dict(img=np.zeros((32, 32, 3), np.uint8)) for _ in range(48)]


def boxes_of_epoch(epoch, batch_size, num_workers):
    """{index: box}"""
    dataset = BlackImages(pipeline=[dict(type='SeedSample'), build(erase_prob=0.5)])
    sampler = SeededSampler(dataset, shuffle=True, seed=3)
    sampler.set_epoch(epoch)
    loader = DataLoader(
        dataset, batch_size, sampler=sampler, num_workers=num_workers, collate_fn=list
    )
    return {int(s['sample_idx']): s['erased_box'] for batch in loader for s in batch}


def test_a_sample_is_erased_alike_whatever_the_workers_and_the_batch():
    """A resumed run begins with another epoch of new workers."""
    first, second = boxes_of_epoch(0, 8, 0), boxes_of_epoch(1, 8, 0)
    assert len(first) == 48
    assert first != second
    assert 10 < sum(any(box) for box in second.values()) < 38
    assert boxes_of_epoch(1, 12, 0) == second
    assert boxes_of_epoch(1, 8, 2) == second


@pytest.mark.parametrize(
    ('argument', 'value'),
    [
        ('erase_prob', 1.5),
        ('erase_prob', float('nan')),
        ('min_area_ratio', 0.0),
        ('min_area_ratio', 0.5),
        ('max_area_ratio', 1.2),
        ('aspect_range', (2.0, 1.0)),
        ('aspect_range', (0.3,)),
        ('aspect_range', (0.3, float('inf'))),
    ],
)
def test_arguments_out_of_range_are_named(argument, value):
    with pytest.raises(ValueError, match=rf'DrawErasing\.{argument}.*: expected'):
        build(**{argument: value})
