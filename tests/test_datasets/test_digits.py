"""The digits: real, fixed, stratified, disjoint."""

import numpy as np
import pytest
from mmengine.registry import DATASETS

import mmqkformer  # noqa: F401


def digits(split):
    return DATASETS.build(dict(type='Digits', split=split))


def test_splits_are_disjoint_and_stratified():
    infos = {split: list(map(digits(split).get_data_info, range(len(digits(split)))))
             for split in ('train', 'val', 'test')}  # fmt: skip
    assert {split: len(info) for split, info in infos.items()} == {
        'train': 1257,
        'val': 180,
        'test': 360,
    }
    images = [info['img'].tobytes() for split in infos.values() for info in split]
    assert len(images) == 1797
    # The set itself holds no image twice
    assert len(set(images)) == 1797
    for split in infos.values():
        counts = np.bincount([info['gt_label'] for info in split], minlength=10)
        assert counts.max() - counts.min() <= 0.1 * len(split) * 0.12 + 1


def test_samples_are_grey_images():
    info = digits('test').get_data_info(0)
    assert info['img'].shape == (8, 8, 3)
    assert info['img'].dtype == np.uint8
    assert info['img'].max() > 200
    assert (info['img'] == info['img'][..., :1]).all()
    assert info['img_shape'] == (8, 8)
    assert digits('test').metainfo['classes'][7] == '7'


def test_the_split_is_always_the_same():
    first, again = digits('val'), digits('val')
    assert all(
        np.array_equal(first.get_data_info(i)['img'], again.get_data_info(i)['img'])
        for i in range(180)
    )


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match=r"dataset\.split='trainval': expected 'train' or 'val'"):
        digits('trainval')
