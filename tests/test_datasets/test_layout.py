"""A missing data set is told before anything is built."""

import pytest
from mmengine.config import Config

from mmqkformer.datasets.layout import check_data_root


def loader(**dataset):
    return Config(dict(train_dataloader=dict(dataset=dataset)))


def check(cfg):
    check_data_root(cfg, ('train_dataloader', 'val_dataloader'))


@pytest.mark.parametrize(
    ('dataset', 'layout'),
    [
        (dict(type='ImageNet', split='train'), 'n01440764_10026.JPEG'),
        (dict(type='BGRCIFAR10'), 'data_batch_1 ... data_batch_5'),
        (dict(type='CIFAR100'), 'cifar-100-python'),
        (dict(type='CIFAR100'), 'or train_dataloader.dataset.download=True'),
        (dict(type='CustomDataset', data_prefix='train'), 'class_a'),
        (dict(type='CIFAR10DVS', split='train'), 'dataset_converters/prepare_cifar10dvs.py SRC'),
        (dict(type='DVS128Gesture', split='train'), 'prepare_dvs128gesture.py SRC'),
        (dict(type='EventDataset', split='train'), 'prepare_events.py SRC'),
        (dict(type='CocoDataset', data_prefix=dict(img='train2017/')), 'instances_train2017.json'),
        (dict(type='CocoDataset'), 'make_digits_coco.py'),
        (dict(type='ADE20KDataset'), 'ADE_train_00000001.png'),
    ],
)
def test_missing_root_shows_the_layout(tmp_path, dataset, layout):
    root = str(tmp_path / 'none')
    with pytest.raises(FileNotFoundError) as error:
        check(loader(data_root=root, **dataset))
    message = str(error.value)
    assert message.startswith(f'train_dataloader.dataset.data_root={root!r}: {root} does not exist')
    assert layout in message


def test_unknown_data_set_names_key_and_value(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_root='none': none does not exist$"):
        check(loader(type='VOCDataset', data_root='none'))


def test_missing_split_and_annotation_are_named(tmp_path):
    dataset = dict(type='ImageNet', data_root=str(tmp_path), split='train')
    with pytest.raises(FileNotFoundError, match=rf'{tmp_path}/train does not exist'):
        check(loader(**dataset))
    (tmp_path / 'train').mkdir()
    with pytest.raises(FileNotFoundError, match=rf'{tmp_path}/train has no folders; ImageNet exp'):
        check(loader(**dataset))
    with pytest.raises(FileNotFoundError, match=rf'{tmp_path}/meta/train\.txt does not exist'):
        check(loader(ann_file='meta/train.txt', **dataset))


def test_missing_store_of_a_split_is_named(tmp_path):
    (tmp_path / 'train').mkdir()
    check(loader(type='EventDataset', data_root=str(tmp_path), split='train'))
    with pytest.raises(FileNotFoundError, match=rf'{tmp_path}/test does not exist'):
        check(loader(type='EventDataset', data_root=str(tmp_path), split='test'))


def test_wrapped_data_sets_are_looked_into():
    inner = dict(type='CustomDataset', data_root='none')
    wrapped = dict(type='RepeatDataset', times=2, dataset=dict(type='Concat', datasets=[inner]))
    with pytest.raises(FileNotFoundError, match=r'dataset\.dataset\.datasets\[0\]\.data_root'):
        check(loader(**wrapped))


@pytest.mark.parametrize(
    'dataset',
    [
        dict(type='Digits', split='train'),
        dict(type='CIFAR10', data_root='none', download=True),
        dict(type='ImageNet', data_root='s3://bucket/imagenet', split='train'),
    ],
)
def test_what_needs_no_folder_passes(dataset):
    check(loader(**dataset))


def test_missing_folders_of_images_and_label_maps_are_named(tmp_path):
    prefix = dict(img_path='images/training', seg_map_path='annotations/training')
    dataset = dict(type='ADE20KDataset', data_root=str(tmp_path), data_prefix=prefix)
    for folder in prefix.values():
        with pytest.raises(FileNotFoundError, match=rf'{tmp_path}/{folder} does not exist'):
            check(loader(**dataset))
        (tmp_path / folder).mkdir(parents=True)
    check(loader(**dataset))


def test_missing_annotations_of_coco_are_named(tmp_path):
    (tmp_path / 'train2017').mkdir()
    dataset = dict(
        type='CocoDataset',
        data_root=f'{tmp_path}/',
        data_prefix=dict(img='train2017/'),
        ann_file='annotations/instances_train2017.json',
    )
    with pytest.raises(FileNotFoundError, match=r'instances_train2017\.json does not exist'):
        check(loader(**dataset))
    dataset['data_prefix'] = dict(img='val2017/')
    with pytest.raises(FileNotFoundError, match=r'val2017 does not exist'):
        check(loader(**dataset))


def class_folders(root, **splits):
    for split, names in splits.items():
        for name in names:
            (root / split / name).mkdir(parents=True)


@pytest.mark.parametrize(
    ('dataset', 'expected'),
    [
        (dict(type='ImageNet', split='train'), 'expected 1000, one for each class of ImageNet-1k'),
        (
            dict(type='ImageNet', split='train', metainfo=dict(classes=['x', 'y', 'z'])),
            r'expected 3, as in train_dataloader\.dataset\.metainfo\.classes',
        ),
        (
            dict(type='CustomDataset', data_prefix='train', metainfo=dict(classes='names.txt')),
            r'expected 3, as in train_dataloader\.dataset\.metainfo\.classes',
        ),
    ],
)
def test_class_folders_that_are_not_the_classes_are_counted(
    tmp_path, monkeypatch, dataset, expected
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'names.txt').write_text('x\ny\nz')
    class_folders(tmp_path, train=['a', 'b', '.hidden'])
    message = (
        rf'^train_dataloader\.dataset: 2 class folders in {tmp_path}/train, {expected}; .*'
        r'model\.head\.num_classes=2 and data_preprocessor\.num_classes=2$'
    )
    with pytest.raises(ValueError, match=message):
        check(loader(data_root=str(tmp_path), **dataset))
    dataset['metainfo'] = dict(classes=['x', 'y'])
    check(loader(data_root=str(tmp_path), **dataset))


def test_lists_and_sets_without_labels_need_no_class_folders(tmp_path):
    class_folders(tmp_path, train=['a'], test=['b'], meta=['c'])
    (tmp_path / 'meta/train.txt').touch()
    for split in ('train', 'test'):
        check(loader(type='ImageNet', data_root=str(tmp_path), split=split))


def test_class_folders_of_training_and_validation_are_the_same(tmp_path):
    class_folders(tmp_path, train=['daisy', 'rose', 'tulip'], val=['daisy', 'tulip'])
    parts = [
        dict(type='CustomDataset', data_root=str(tmp_path), data_prefix=p) for p in ('train', 'val')
    ]
    cfg = Config({f'{p["data_prefix"]}_dataloader': dict(dataset=p) for p in parts})
    message = r'^val_dataloader\.dataset and train_dataloader\.dataset: .* only one has rose$'
    with pytest.raises(ValueError, match=message):
        check(cfg)
    (tmp_path / 'val/rose').mkdir()
    check(cfg)
