"""Labels that the classifier has no class for: the sample and the config key, before training."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from event_streams import random_events
from mmengine.config import Config
from mmengine.registry import DATASETS, HOOKS, DefaultScope
from mmengine.runner import Runner
from PIL import Image

from mmqkformer.datasets.events.store import StoreWriter, encode
from mmqkformer.engine.hooks.check_labels import check_labels

ROOT = Path(__file__).parents[2]
KEY = 'train_dataloader.dataset'


def dataset(kind, **kwargs):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return DATASETS.build(dict(type=kind, pipeline=[], **kwargs))


@pytest.fixture
def listed(tmp_path):
    """Writes a list of labels."""

    def write(*labels):
        lines = [f'{i}.png {label}' for i, label in enumerate(labels)]
        (tmp_path / 'train.txt').write_text('\n'.join(lines))
        return dict(data_root=str(tmp_path), ann_file='train.txt', data_prefix='train')

    return write


@pytest.mark.parametrize('kind', ['CustomDataset', 'ImageNet'])
@pytest.mark.parametrize('label', [-1, 3, 1000])
def test_the_sample_of_a_list_is_named(tmp_path, listed, kind, label):
    check_labels(KEY, dataset(kind, **listed(0, 2, 1)), 3)
    message = (
        rf'^{KEY}: gt_label={label} of sample 2 of {tmp_path}/train\.txt '
        rf'\({tmp_path}/train/2\.png\): expected 0 to 2, as model\.head\.num_classes=3$'
    )
    with pytest.raises(ValueError, match=message):
        check_labels(KEY, dataset(kind, **listed(0, 2, label)), 3)


def test_labels_of_several_classes_are_looked_at(listed):
    class Several:
        def __len__(self):
            return 2

        def get_data_info(self, i):
            return dict(gt_label=np.array([[0, 1], [2, 3]][i]))

    check_labels(KEY, Several(), 4)
    with pytest.raises(ValueError, match=r'gt_label=3 of sample 1 '):
        check_labels(KEY, Several(), 3)


def test_class_folders_are_counted(tmp_path):
    for name in 'abc':
        (tmp_path / name).mkdir()
        Image.new('RGB', (4, 4)).save(tmp_path / name / '0.png')
    folders = dataset('CustomDataset', data_root=str(tmp_path))
    check_labels(KEY, folders, 3)
    with pytest.raises(ValueError, match=rf'{KEY}: 3 class folders: labels expected 0 to 1, as'):
        check_labels(KEY, folders, 2)


def test_wrapped_data_sets_and_parts_are_looked_at(listed):
    inner = dict(type='CustomDataset', pipeline=[], **listed(0, 2))
    part = dataset('CustomDataset', indices=1, **listed(0, 2))
    check_labels(KEY, part, 2)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        whole = DATASETS.build(dict(type='ConcatDataset', datasets=[inner]))
    with pytest.raises(ValueError, match=r'gt_label=2 of sample 1 '):
        check_labels(KEY, whole, 2)


def test_digits_cifar_and_events(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r'gt_label=9 of sample \d+ .*head\.num_classes=9'):
        check_labels(KEY, dataset('Digits', split='train'), 9)

    kind = DATASETS.get('BGRCIFAR10')
    entry = dict(data=np.zeros((2, 3072), np.uint8), labels=[0, 9])
    (tmp_path / kind.base_folder).mkdir()
    (tmp_path / kind.base_folder / 'batch').write_bytes(pickle.dumps(entry))
    monkeypatch.setattr(kind, 'train_list', [['batch', None]])
    monkeypatch.setattr(kind, 'test_list', [])
    monkeypatch.setattr('mmqkformer.datasets.cifar.calculate_md5', lambda path: None)
    cifar = dataset('BGRCIFAR10', data_root=str(tmp_path), split='train')
    check_labels(KEY, cifar, 10)
    with pytest.raises(ValueError, match=r'gt_label=9 of sample 1 '):
        check_labels(KEY, cifar, 4)

    files = [f'{name}/0.npz' for name in ('left', 'right')]
    meta = dict(sensor_size=[16, 16], classes=['left', 'right'])
    writer = StoreWriter(tmp_path / 'train', meta, files)
    for label, file in enumerate(files):
        events = random_events(9, (16, 16), seed=label)
        writer.add([(file, label, len(events), events.duration, encode(events, file))])
    writer.finish()
    store = dataset('EventDataset', data_root=str(tmp_path))
    check_labels(KEY, store, 2)
    with pytest.raises(ValueError, match=r'gt_label=1 of sample 1 \(right/0\.npz\): expected 0 to'):
        check_labels(KEY, store, 1)


def digits(tmp_path, **changes):
    cfg = Config.fromfile(ROOT / 'configs' / 'qkformer' / 'hst-3-128_1xb64_digits.py')
    cfg.merge_from_dict({'model.backbone.time_steps': 1, 'model.head.num_classes': 8, **changes})
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].collate_fn = dict(type='default_collate')
    cfg.update(work_dir=str(tmp_path), experiment_name=tmp_path.name, visualizer=None)
    return Runner.from_cfg(cfg)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'data_preprocessor.num_classes': 8}, r'^train_dataloader\.dataset: gt_label=[89] of'),
        ({}, r'^data_preprocessor\.num_classes=10: expected 8, as in model\.head\.num_classes=8$'),
        (
            {'model.head.num_classes': 10, 'val_evaluator.topk': (1, 11)},
            r'^val_evaluator\.topk=\(1, 11\): expected at most 10, as in model\.head\.num_classes',
        ),
    ],
)
def test_a_training_stops_before_its_first_batch(tmp_path, changes, message):
    runner = digits(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        runner.train()
    assert runner.iter == 0


def test_a_test_stops_before_its_first_batch(tmp_path):
    with pytest.raises(ValueError, match=r'^test_dataloader\.dataset: gt_label=[89] of sample'):
        digits(tmp_path).test()


def test_models_without_a_number_of_classes_are_left_alone():
    hook = HOOKS.build(dict(type='CheckLabelsHook'))
    loader = SimpleNamespace(dataset=dataset('Digits', split='test'))
    runner = SimpleNamespace(model=None, test_dataloader=loader, test_evaluator=None)
    hook.before_test(runner)
