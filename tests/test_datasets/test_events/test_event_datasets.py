"""Data sets of events: samples in the order of the store, and what is wrong told by name."""

import pytest
import torch
from event_streams import random_events
from mmengine.registry import DATASETS
from torch.utils.data import DataLoader

from mmqkformer.datasets.events import EventError
from mmqkformer.datasets.events.classes import CIFAR10, GESTURES
from mmqkformer.datasets.events.store import StoreWriter, encode


def write_store(path, classes, labels, size=(12, 9)):
    files = [f'{label}/{i}' for i, label in enumerate(labels)]
    writer = StoreWriter(path, dict(sensor_size=list(size), classes=list(classes)), files)
    for i, (file, label) in enumerate(zip(files, labels)):
        events = random_events(40 + i, size, seed=i)
        writer.add([(file, label, len(events), events.duration, encode(events, file))])
    writer.finish()


PIPELINE = [
    dict(type='LoadEvents'),
    dict(type='EventsToFrames', time_steps=4),
    dict(type='PackEvents'),
]


def build(kind, root, **kwargs):
    kwargs = dict(pipeline=PIPELINE, sensor_size=(12, 9)) | kwargs
    return DATASETS.build(dict(type=kind, data_root=str(root), **kwargs))


@pytest.mark.parametrize(
    ('kind', 'classes'),
    [('EventDataset', ('a', 'b', 'c')), ('CIFAR10DVS', CIFAR10), ('DVS128Gesture', GESTURES)],
)
def test_samples_are_those_of_the_store(tmp_path, kind, classes):
    write_store(tmp_path / 'train', classes, [0, 0, 1, 2])
    write_store(tmp_path / 'test', classes, [2])
    dataset = build(kind, tmp_path)
    assert dataset.metainfo['classes'] == classes
    assert [dataset.get_data_info(i)['gt_label'] for i in range(4)] == [0, 0, 1, 2]
    assert not dataset.test_mode
    sample = dataset[3]
    assert sample['inputs'].shape == (4, 2, 12, 9)
    assert sample['inputs'].sum() == 43
    assert sample['data_samples'].gt_label.item() == 2
    assert sample['data_samples'].ori_shape == (12, 9)
    assert len(build(kind, tmp_path, split='test')) == 1
    assert build(kind, tmp_path, split='test').test_mode


def test_workers_read_the_store(tmp_path):
    write_store(tmp_path / 'train', 'ab', [0, 0, 1, 1])
    dataset = build('EventDataset', tmp_path)
    alone = [dataset[i]['inputs'] for i in range(4)]
    loader = DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=list)
    for (sample,), expected in zip(loader, alone, strict=True):
        assert torch.equal(sample['inputs'], expected)


def test_gestures_in_the_order_of_the_releases_folders(tmp_path):
    """Folders named 0 to 10, sorted as text: 0, 1, 10, 2, ..."""
    write_store(tmp_path / 'train', GESTURES, [*range(11), 10])
    dataset = build('DVS128Gesture', tmp_path, label_order='folder')
    assert dataset.metainfo['classes'][:4] == (
        'hand_clapping', 'right_hand_wave', 'other_gestures', 'left_hand_wave'
    )  # fmt: skip
    infos = [dataset.get_data_info(i) for i in range(12)]
    assert [info['gt_label'] for info in infos] == [0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert [info['recording'] for info in infos] == [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
    with pytest.raises(ValueError, match=r"dataset\.label_order='text': expected 'number' or"):
        build('DVS128Gesture', tmp_path, label_order='text')


def test_a_store_of_another_data_set_is_refused(tmp_path):
    write_store(tmp_path / 'train', GESTURES, [0])
    with pytest.raises(EventError, match=r'field classes: .*the classes of CIFAR10DVS'):
        build('CIFAR10DVS', tmp_path)


def test_a_store_of_another_sensor_is_refused(tmp_path):
    """As after a preparation with the --sensor-size of another camera."""
    write_store(tmp_path / 'train', CIFAR10, [0], size=(260, 346))
    message = r'meta\.json: field sensor_size: \(260, 346\): expected \(128, 128\).*--sensor-size'
    with pytest.raises(EventError, match=message):
        build('CIFAR10DVS', tmp_path, sensor_size=None)
    write_store(tmp_path / 'test', GESTURES, [0])
    with pytest.raises(EventError, match=r'\(12, 9\): expected \(9, 12\)'):
        build('DVS128Gesture', tmp_path, split='test', sensor_size=[9, 12])
    assert len(build('EventDataset', tmp_path, split='test', sensor_size=None)) == 1
    with pytest.raises(ValueError, match=r'dataset\.sensor_size=12: expected \(height, width\)'):
        build('EventDataset', tmp_path, split='test', sensor_size=12)


def test_a_missing_store_names_the_preparation(tmp_path):
    with pytest.raises(EventError, match=r'meta\.json: does not exist: .*prepare_'):
        build('EventDataset', tmp_path)
