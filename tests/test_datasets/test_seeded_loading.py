"""Every sample's randomness is a function of seed, epoch and index; broken files are named."""

import pickle
import random

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset
from mmengine.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS
from PIL import Image
from torch.utils.data import DataLoader

import mmqkformer  # noqa: F401
from mmqkformer.datasets.samplers import SeededIndex, SeededSampler
from mmqkformer.datasets.seeding import SAMPLES, seed_everything


@TRANSFORMS.register_module()
class Draw(BaseTransform):
    def transform(self, results):
        draw = (random.random(), np.random.rand(), torch.rand(1).item())
        return dict(index=int(results['sample_idx']), draw=draw)


@DATASETS.register_module()
class Indices(BaseDataset):
    def load_data_list(self):
        return [dict(img_path='')] * 24


def draws(num_workers, epochs=2, seed=5, persistent=False):
    """{(epoch, index): the random numbers of that sample}"""
    dataset = Indices(pipeline=[dict(type='SeedSample'), dict(type='Draw')])
    sampler = SeededSampler(dataset, shuffle=True, seed=seed)
    loader = DataLoader(
        dataset,
        batch_size=4,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=list,
        persistent_workers=persistent,
    )
    found = {}
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for batch in loader:
            for sample in batch:
                found[epoch, sample['index']] = sample['draw']
    return found


def test_augmentation_does_not_depend_on_the_workers():
    alone = draws(0)
    assert len(alone) == 48
    assert len(set(alone.values())) == 48
    assert draws(2, persistent=True) == alone
    assert draws(0, seed=6) != alone


def test_an_index_keeps_its_seed_on_the_way_to_a_worker():
    index = pickle.loads(pickle.dumps(SeededIndex(3, 7, 9)))
    assert (index, index.seed, index.epoch) == (3, 7, 9)


def test_seed_sample_needs_the_sampler():
    transform = TRANSFORMS.build(dict(type='SeedSample'))
    with pytest.raises(TypeError, match=r"sampler\.type='SeededSampler'"):
        transform(dict(sample_idx=3))
    transform(dict(sample_idx=SeededIndex(3, 0, 0)))
    # A replacement of a skipped sample goes on with that sample's stream
    transform(dict(sample_idx=4))


def test_a_sample_seeds_what_everything_seeds_on_the_cpu():
    def states():
        numpy = np.random.get_state()
        return random.getstate(), numpy[1].tobytes(), numpy[2:], torch.get_rng_state().tolist()

    seed_everything(SAMPLES, 7, 9, 3)
    everything = states()
    torch.rand(1), np.random.rand(), random.random()
    TRANSFORMS.build(dict(type='SeedSample'))(dict(sample_idx=SeededIndex(3, 7, 9)))
    assert states() == everything


def test_a_sample_leaves_accelerators_alone(monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.cuda, 'manual_seed_all', seeds.append)
    TRANSFORMS.build(dict(type='SeedSample'))(dict(sample_idx=SeededIndex(3, 7, 9)))
    assert not seeds
    seed_everything(SAMPLES, 7, 9, 3)
    assert len(seeds) == 1


def ranks(size, world, monkeypatch, **kwargs):
    lists = []
    for rank in range(world):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda r=rank: (r, world))
        sampler = DATA_SAMPLERS.build(
            dict(type='SeededSampler', dataset=range(size), seed=1, **kwargs)
        )
        lists.append(list(sampler))
        assert len(lists[-1]) == len(sampler)
    return lists


def test_epochs_are_whole_optimizer_steps(monkeypatch):
    lists = ranks(103, 2, monkeypatch, multiple_of=8)
    assert [len(part) for part in lists] == [48, 48]
    assert len(set(lists[0] + lists[1])) == 96
    assert [len(part) for part in ranks(103, 2, monkeypatch)] == [52, 52]
    # Of ImageNet on 8 processes of 16 x 4, 10,009 micro-batches would be no multiple of 4
    monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (0, 8))
    assert len(SeededSampler(range(1281167), multiple_of=64)) == 2502 * 64


@pytest.mark.parametrize('multiple_of', [0, -8, 1.5, '8'])
def test_a_multiple_of_nothing_is_named(multiple_of):
    with pytest.raises(ValueError, match=r'sampler\.multiple_of=.*: expected an integer of at'):
        SeededSampler(range(100), multiple_of=multiple_of)


def test_too_small_a_data_set_is_named(monkeypatch):
    with pytest.raises(ValueError, match=r'sampler\.multiple_of=64: the 100 samples'):
        ranks(100, 2, monkeypatch, multiple_of=64)


@pytest.fixture
def images(tmp_path):
    """Ten JPEGs, the fourth cut in half."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(10):
        paths.append(tmp_path / f'{i}.jpg')
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(paths[-1])
    content = paths[3].read_bytes()
    paths[3].write_bytes(content[: len(content) // 2])
    return paths


def loader_of(paths, **kwargs):
    @TRANSFORMS.register_module(force=True)
    class KeepPath(BaseTransform):
        def transform(self, results):
            return results['img_path']

    @DATASETS.register_module(force=True)
    class Files(BaseDataset):
        def load_data_list(self):
            return [dict(img_path=str(path)) for path in paths]

    return Files(
        pipeline=[
            dict(type='SeedSample'),
            dict(type='LoadVerifiedImage', **kwargs),
            dict(type='KeepPath'),
        ]
    )


def test_a_truncated_image_is_named(images):
    dataset = loader_of(images)
    assert dataset[SeededIndex(0, 0, 0)] == str(images[0])
    with pytest.raises(OSError, match=r'corrupt image .*3\.jpg: '):
        dataset[SeededIndex(3, 0, 0)]
    images[5].unlink()
    with pytest.raises(FileNotFoundError, match=r'5\.jpg'):
        dataset[SeededIndex(5, 0, 0)]
    images[6].write_bytes(b'no image')
    with pytest.raises(OSError, match=r'corrupt image .*6\.jpg'):
        dataset[SeededIndex(6, 0, 0)]


def test_a_corrupt_image_is_skipped_and_counted_on_request(images):
    dataset = loader_of(images, on_error='skip')
    first = dataset[SeededIndex(3, 0, 0)]
    assert first != str(images[3])
    # The replacement too depends on seed, epoch and index alone
    dataset[SeededIndex(1, 0, 0)]
    assert dataset[SeededIndex(3, 0, 0)] == first
    load = dataset.pipeline.transforms[1]
    assert load.skipped.value == 2
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=2,
        collate_fn=list,
        sampler=SeededSampler(dataset, shuffle=False, seed=0),
    )
    loaded = [path for batch in loader for path in batch]
    assert len(loaded) == 10
    assert str(images[3]) not in loaded
    assert load.skipped.value >= 3


def test_a_test_does_not_skip(images):
    load = TRANSFORMS.build(dict(type='LoadVerifiedImage', on_error='skip'))
    with pytest.raises(OSError, match=r"corrupt image .*3\.jpg.*on_error='skip' is for training"):
        load(dict(img_path=str(images[3])))


def test_a_part_of_a_data_set_counts_with_the_whole(images):
    dataset = loader_of(images, on_error='skip')
    part = dataset.get_subset([2, 3, 4])
    part[SeededIndex(1, 0, 0)]
    assert dataset.pipeline.transforms[1].skipped.value >= 1


def test_an_image_in_memory_is_passed_on():
    """mmpretrain's inferencer decodes by itself and keeps the rest of the test pipeline."""
    sample = dict(img=np.zeros((4, 4, 3), np.uint8), img_shape=(4, 4))
    assert TRANSFORMS.build(dict(type='LoadVerifiedImage'))(sample) is sample


def test_a_decoded_image_is_that_of_mmcv(images):
    loaded = TRANSFORMS.build(dict(type='LoadVerifiedImage'))(dict(img_path=str(images[0])))
    pixels = np.asarray(Image.open(images[0]))
    assert np.array_equal(loaded['img'][..., ::-1], pixels)
    assert loaded['img_shape'] == (32, 32)


def test_an_unknown_reaction_is_named():
    with pytest.raises(ValueError, match=r"LoadVerifiedImage\.on_error='ignore': expected"):
        TRANSFORMS.build(dict(type='LoadVerifiedImage', on_error='ignore'))


def test_a_decoder_that_notices_nothing_is_refused():
    with pytest.raises(ValueError, match=r"LoadVerifiedImage\.imdecode_backend='cv2': expected"):
        TRANSFORMS.build(dict(type='LoadVerifiedImage', imdecode_backend='cv2'))
