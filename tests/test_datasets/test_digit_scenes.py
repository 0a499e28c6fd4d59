"""Digits scattered over canvases: what is drawn, boxed and labelled is the same thing."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mmqkformer.datasets import Digits
from mmqkformer.datasets.digit_scenes import MIN_VISIBLE, compose

ROOT = Path(__file__).resolve().parents[2]
MAKE = str(ROOT / 'tools' / 'dataset_converters' / 'make_digits_coco.py')
run_lengths = runpy.run_path(MAKE)['run_lengths']
SMALL = ('--images', 6, 3, 2, '--size', 90, 120)


def make(*args):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [MAKE, *map(str, args)])
        runpy.run_path(MAKE, run_name='__main__')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp('made')
    make(root, *SMALL)
    return root


def digits():
    return [(info['img'][..., 0], info['gt_label']) for info in Digits(split='train')]


def scenes(count=40, size=(100, 140)):
    source = digits()
    return [
        compose(np.random.default_rng([7, i]), source, size, 6, (20.0, 44.0)) for i in range(count)
    ]


def test_scenes_hold_digits_that_can_be_seen():
    drawn = scenes()
    counts = [len(scene.labels) for scene in drawn]
    assert max(counts) == 6
    assert len(set(counts)) > 3
    for scene in drawn:
        assert scene.image.shape == (100, 140, 3)
        assert scene.image.dtype == np.uint8
        assert set(np.unique(scene.instances)) == set(range(len(scene.labels) + 1))
        for mask, label in zip(scene.masks(), scene.labels):
            assert set(scene.label_map()[mask]) == {label + 1}
            # A digit stands out from the canvas around it
            inside = scene.image[mask].astype(float).mean(0)
            outside = scene.image[scene.instances == 0].astype(float).mean(0)
            assert np.abs(inside - outside).max() > 15


def test_hidden_digits_keep_most_of_their_pixels():
    """The last digit hides nothing that matters of those before."""
    source, sides = digits(), (30.0, 44.0)
    for i in range(10):
        rng = [np.random.default_rng([1, i]) for _ in range(2)]
        crowded = compose(rng[0], source, (100, 100), 8, sides)
        areas = [mask.sum() for mask in crowded.masks()]
        # A side of 30 leaves no digit below some 25 pixels, hidden or not
        assert all(area > 25 * MIN_VISIBLE for area in areas)


def test_the_seed_decides_everything():
    first, again = scenes(3), scenes(3)
    for a, b in zip(first, again):
        assert np.array_equal(a.image, b.image)
        assert a.labels == b.labels
    assert not np.array_equal(first[0].image, first[1].image)


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_boxes_masks_and_label_maps_agree(made, split):
    coco = COCO(made / 'annotations' / f'instances_{split}.json')
    assert [c['name'] for c in coco.cats.values()] == list('0123456789')
    assert len(coco.imgs) == dict(train=6, val=3, test=2)[split]
    for image_id, info in coco.imgs.items():
        pixels = np.asarray(Image.open(made / 'images' / split / info['file_name']))
        labels = np.asarray(Image.open(made / 'label_maps' / split / info['file_name']))
        assert pixels.shape == (info['height'], info['width'], 3) == (90, 120, 3)
        assert labels.shape == (90, 120)
        covered = np.zeros((90, 120), bool)
        for annotation in coco.imgToAnns[image_id]:
            mask = coco.annToMask(annotation).astype(bool)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            left, top, width, height = annotation['bbox']
            assert (rows[0], rows[-1] + 1) == (top, top + height)
            assert (columns[0], columns[-1] + 1) == (left, left + width)
            assert mask.sum() == annotation['area']
            assert set(labels[mask]) == {annotation['category_id']}
            assert not (covered & mask).any()
            covered |= mask
        assert (labels[~covered] == 0).all()


@pytest.mark.parametrize('corner', [0, -1])
def test_run_lengths_of_masks_that_reach_a_corner(corner):
    from pycocotools import mask as api

    mask = np.zeros((5, 7), bool)
    mask[corner, corner] = mask[2, 3:5] = True
    encoded = run_lengths(mask)
    assert sum(encoded['counts']) == mask.size
    decoded = api.decode(api.frPyObjects(encoded, *mask.shape))
    assert np.array_equal(decoded.astype(bool), mask)


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob('*') if p.is_file()}


def test_a_broken_run_goes_on_to_the_same_files(made, tmp_path, capsys):
    make(tmp_path, *SMALL)
    before = contents(tmp_path)
    assert before == contents(made)
    # As killed in the last split: its annotations come last
    (tmp_path / 'annotations' / 'instances_test.json').unlink()
    (tmp_path / 'images' / 'test' / '000001.png').unlink()
    make(tmp_path, *SMALL)
    assert contents(tmp_path) == before
    assert 'train: 6 images are there' in capsys.readouterr().out


def test_a_folder_of_other_settings_is_not_touched(made, tmp_path):
    before = contents(made)
    with pytest.raises(SystemExit, match=r'was made with .*choose another folder'):
        make(made, *SMALL, '--seed', 1)
    assert contents(made) == before


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--size', 60, 128), '--size 60 128: expected at least 67 pixels'),
        (('--sides', 4, 20), '--sides 4 20: expected 8 <= MIN <= MAX'),
        (('--images', 0, 1, 1), '--images: 0: expected an integer of at least 1'),
        (('--max-digits', 256), '--max-digits 256: expected 1 to 255'),
    ],
)
def test_bad_arguments_are_named(tmp_path, capsys, args, message):
    with pytest.raises(SystemExit):
        make(tmp_path / 'none', *args)
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'none').exists()


def test_splits_share_no_digit():
    """Of the digits that the scenes of a split are drawn from, none is in another."""
    splits = [{info['img'].tobytes() for info in Digits(split=s)} for s in ('train', 'val', 'test')]
    assert not splits[0] & splits[1]
    assert not splits[0] & splits[2]
