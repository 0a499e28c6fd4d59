"""A broken COCO file is refused by one error, or it trains: never anything else."""

import copy
import json
import random

import numpy as np
import pytest
from dense import ROOT
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from pycocotools import mask as coco_mask

from mmqkformer.datasets.coco_check import AnnotationError, _unpacked, check_coco
from mmqkformer.datasets.layout import check_data_root

LOADERS = ('train_dataloader', 'val_dataloader')
KEYS = {'train': 'train_dataloader.dataset.ann_file', 'val': 'val_dataloader.dataset.ann_file'}


@pytest.fixture(scope='module')
def content(digits_coco):
    """A file of three images, with masks as polygons, run lengths and packed run lengths."""
    content = json.loads((digits_coco / 'annotations/instances_train.json').read_text())
    content['images'] = content['images'][:3]
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] < 3]
    for i, annotation in enumerate(content['annotations']):
        left, top, width, height = annotation['bbox']
        if i % 3 == 0:
            right, bottom = left + width, top + height
            annotation['segmentation'] = [[left, top, right, top, right, bottom, left, bottom]]
        elif i % 3 == 1:
            packed = coco_mask.frPyObjects(annotation['segmentation'], 96, 128)
            annotation['segmentation'] = dict(packed, counts=packed['counts'].decode())
    assert len(content['annotations']) >= 6
    return content


@pytest.fixture(scope='module')
def demonstration():
    return Config.fromfile(ROOT / 'configs/detection/retinanet_hst-3-128_fpn_digits.py')


@pytest.fixture
def cfg(demonstration, digits_coco, tmp_path):
    """The detection demonstration with masks, of annotation files in a folder of their own."""
    cfg = copy.deepcopy(demonstration)
    for split in ('train', 'val'):
        dataset = cfg[f'{split}_dataloader'].dataset
        prefix = str(digits_coco / 'images/train')
        dataset.update(
            data_root='/', ann_file=str(tmp_path / f'{split}.json'), data_prefix=dict(img=prefix)
        )
        for step in dataset.pipeline:
            if step.type == 'LoadAnnotations':
                step.with_mask = True
    cfg.val_evaluator.update(ann_file=str(tmp_path / 'val.json'), metric=['bbox', 'segm'])
    return cfg


def write(cfg, data, split=None):
    for name in [split] if split else ['train', 'val']:
        with open(cfg[f'{name}_dataloader'].dataset.ann_file, 'wb') as file:
            file.write(data if isinstance(data, bytes) else json.dumps(data).encode())


def use(cfg):
    """Everything that training and validation do with the files, without a network."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        for split in ('train', 'val'):
            dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
            dataset.pipeline.transforms = [
                step for step in dataset.pipeline.transforms if type(step).__name__ != 'SeedSample'
            ]
            samples = [dataset[i] for i in range(len(dataset))]
        metric = METRICS.build(cfg.val_evaluator)
        metric.dataset_meta = dataset.metainfo
        for sample in samples:
            info = sample['data_samples']
            truth = info.gt_instances
            found = dict(
                bboxes=truth.bboxes.tensor,
                labels=truth.labels,
                scores=truth.labels * 0 + 0.9,
                masks=truth.masks.to_tensor(bool, 'cpu'),
            )
            metric.process(
                {}, [dict(img_id=info.img_id, ori_shape=info.ori_shape, pred_instances=found)]
            )
        return metric.evaluate(len(samples))


def test_a_whole_file_passes_and_its_own_boxes_are_right(cfg, content):
    write(cfg, content)
    check_data_root(cfg, LOADERS)
    metrics = use(cfg)
    assert metrics['coco/bbox_mAP_50'] == 1.0
    assert metrics['coco/segm_mAP_50'] > 0.9


# One file each, what the error names, and what it says
ANNOTATION, IMAGE, CATEGORY = ('annotations', 1), ('images', 1), ('categories', 1)
WRONG = [
    *[
        ((part), None, name)
        for part, name in (
            (('images',), 'images'),
            (('annotations',), 'annotations'),
            (('categories',), 'categories'),
        )
    ],
    *[
        ((*ANNOTATION, field), None, f'annotations[1].{field}')
        for field in ('id', 'image_id', 'category_id', 'bbox', 'area', 'segmentation')
    ],
    *[
        ((*IMAGE, field), None, f'images[1].{field}')
        for field in ('id', 'file_name', 'height', 'width')
    ],
    *[((*CATEGORY, field), None, f'categories[1].{field}') for field in ('id', 'name')],
    (('images',), [], 'images=[]'),
    (('annotations',), {}, 'annotations={}'),
    ((*ANNOTATION,), 7, 'annotations[1]=7'),
    ((*ANNOTATION, 'id'), 1, 'annotations[1].id=1'),
    ((*ANNOTATION, 'id'), '2', "annotations[1].id='2'"),
    ((*ANNOTATION, 'image_id'), 99, 'annotations[1].image_id=99'),
    ((*ANNOTATION, 'category_id'), 99, 'annotations[1].category_id=99'),
    ((*ANNOTATION, 'category_id'), True, 'annotations[1].category_id=True'),
    ((*ANNOTATION, 'bbox'), [1, 2, 3], 'annotations[1].bbox=[1, 2, 3]'),
    ((*ANNOTATION, 'bbox'), [1, 2, 3, float('nan')], 'annotations[1].bbox=[1, 2, 3, nan]'),
    ((*ANNOTATION, 'bbox'), [1, 2, -3, 4], 'annotations[1].bbox=[1, 2, -3, 4]'),
    ((*ANNOTATION, 'bbox'), '1 2 3 4', "annotations[1].bbox='1 2 3 4'"),
    ((*ANNOTATION, 'area'), float('inf'), 'annotations[1].area=inf'),
    ((*ANNOTATION, 'iscrowd'), 'no', "annotations[1].iscrowd='no'"),
    ((*ANNOTATION, 'segmentation'), [], 'annotations[1].segmentation=[]'),
    ((*ANNOTATION, 'segmentation'), [[1, 2, 3, 4, 5]], 'annotations[1].segmentation=[['),
    ((*ANNOTATION, 'segmentation'), [[0, 0, 10**9, 0, 0, 10**9]], 'annotations[1].segmentation=[['),
    ((*ANNOTATION, 'segmentation', 'counts'), [5, -1], 'annotations[1].segmentation={'),
    ((*ANNOTATION, 'segmentation', 'counts'), 'PPYo1', 'annotations[1].segmentation={'),
    ((*ANNOTATION, 'segmentation', 'size'), [128, 96], 'annotations[1].segmentation={'),
    ((*IMAGE, 'id'), 0, 'images[1].id=0'),
    ((*IMAGE, 'file_name'), '', "images[1].file_name=''"),
    ((*IMAGE, 'file_name'), '\ud800.png', 'images[1].file_name='),
    ((*IMAGE, 'height'), 0, 'images[1].height=0'),
    ((*IMAGE, 'width'), '128', "images[1].width='128'"),
    ((*CATEGORY, 'id'), 1, 'categories[1].id=1'),
    ((*CATEGORY, 'name'), '0', "categories[1].name='0'"),
    ((*CATEGORY, 'name'), 'seven', "categories=['0', 'seven', "),
]


def changed(content, path, value):
    """The content with a value at a path; None takes it away."""
    content = copy.deepcopy(content)
    part = content
    for step in path[:-1]:
        part = part[step]
    if value is None:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return content


@pytest.mark.parametrize(('path', 'value', 'named'), WRONG, ids=lambda value: str(value)[:40])
def test_the_key_the_file_and_the_field_are_named(cfg, content, path, value, named):
    write(cfg, content)
    write(cfg, changed(content, path, value), 'train')
    file = cfg.train_dataloader.dataset.ann_file
    with pytest.raises(AnnotationError) as error:
        check_data_root(cfg, LOADERS)
    assert str(error.value).startswith(f'{KEYS["train"]}={file!r}: {named}')
    assert 'expected' in str(error.value)


@pytest.mark.parametrize(
    ('data', 'named'),
    [
        (b'', 'no JSON: Expecting value'),
        (b'[]', '[]: expected an object'),
        (b'null', 'None: expected an object'),
        (b'{"images": [', 'no JSON: '),
        (b'\xff\xd8\xff\xe0', 'not UTF-8 at byte 0'),
        ('{"images": []}'.encode('utf-16'), 'not UTF-8 at byte 0'),
        (b'\xef\xbb\xbf{}', 'no JSON: '),
        (b'[' * 100000, 'no JSON: '),
        (b'{"images": 1' + b'0' * 5000 + b'}', 'no JSON: '),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_file_that_is_no_json_object_is_named(cfg, content, data, named):
    write(cfg, content)
    write(cfg, data, 'val')
    with pytest.raises(AnnotationError) as error:
        check_data_root(cfg, LOADERS)
    assert str(error.value).startswith(f'{KEYS["val"]}={cfg.val_evaluator.ann_file!r}: {named}')


def test_the_evaluators_file_is_read_as_well(cfg, content, tmp_path):
    write(cfg, content)
    cfg.val_evaluator.ann_file = str(tmp_path / 'other.json')
    with pytest.raises(
        FileNotFoundError, match=r"^val_evaluator\.ann_file='.*other\.json' does not"
    ):
        check_data_root(cfg, LOADERS)
    (tmp_path / 'other.json').write_text('{}')
    with pytest.raises(
        AnnotationError, match=r'^val_evaluator\.ann_file=.*: images=None: expected'
    ):
        check_data_root(cfg, LOADERS)


def test_masks_are_looked_at_where_they_are_read(cfg, content):
    write(cfg, changed(content, (*ANNOTATION, 'segmentation'), None))
    for split in ('train', 'val'):
        for step in cfg[f'{split}_dataloader'].dataset.pipeline:
            step.pop('with_mask', None)
    with pytest.raises(AnnotationError, match=r'^val_evaluator\.ann_file.*segmentation is missing'):
        check_data_root(cfg, LOADERS)
    cfg.val_evaluator.metric = 'bbox'
    check_data_root(cfg, LOADERS)


def test_flags_of_crowds_are_optional_but_where_mmdet_scores(cfg, content):
    write(cfg, content)
    write(cfg, changed(content, (*ANNOTATION, 'iscrowd'), None), 'train')
    check_data_root(cfg, LOADERS)
    use(cfg)
    write(cfg, changed(content, (*ANNOTATION, 'iscrowd'), None), 'val')
    with pytest.raises(
        AnnotationError, match=r'^val_evaluator.*annotations\[1\]\.iscrowd is missing'
    ):
        check_data_root(cfg, LOADERS)


def test_a_filter_has_to_leave_an_image(cfg, content):
    write(cfg, content)
    cfg.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True, min_size=97)
    with pytest.raises(AnnotationError, match=r'images=.*: expected an image that filter_cfg='):
        check_data_root(cfg, LOADERS)
    cfg.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True, min_size=96)
    check_data_root(cfg, LOADERS)
    write(cfg, changed(content, ('annotations',), []), 'train')
    with pytest.raises(AnnotationError, match=r'images=.*: expected an image that filter_cfg='):
        check_data_root(cfg, LOADERS)


def test_cocos_own_classes_are_expected_unless_the_config_names_others(cfg, content):
    write(cfg, content)
    cfg.train_dataloader.dataset.pop('metainfo')
    with pytest.raises(AnnotationError, match=r"categories=.*expected the classes \['person', "):
        check_data_root(cfg, LOADERS)


def test_a_test_set_without_annotations_passes(cfg, content):
    """As COCO's test-dev: its results are only written."""
    write(cfg, content)
    write(cfg, changed(content, ('annotations',), None), 'val')
    with pytest.raises(AnnotationError, match=r'^val_evaluator\.ann_file=.*: annotations=None'):
        check_data_root(cfg, LOADERS)
    cfg.val_evaluator.update(format_only=True, outfile_prefix='results')
    check_data_root(cfg, LOADERS)


def test_other_processes_leave_the_reading_to_the_first(cfg, monkeypatch):
    write(cfg, b'')
    monkeypatch.setenv('RANK', '1')
    check_data_root(cfg, LOADERS)
    monkeypatch.setenv('RANK', '0')
    with pytest.raises(AnnotationError):
        check_data_root(cfg, LOADERS)


def test_packed_run_lengths_are_unpacked_as_by_pycocotools():
    generator = np.random.default_rng(0)
    for density in (0.001, 0.3, 0.5, 0.999):
        mask = np.asfortranarray(generator.random((37, 211)) < density)
        packed = coco_mask.encode(mask.astype(np.uint8))['counts'].decode()
        flat = mask.ravel(order='F')
        edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(np.int8)))
        expected = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
        assert _unpacked(packed) == expected


VALUES = [
    None, True, False, 0, 1, -1, 3, 10**30, 1e30, -0.5, 0.5, float('nan'), float('inf'), '', '0',
    'x', '\ud800', '../../x', [], [[]], [0], [1, 2, 3, 4], [-1, -1, 1, 1], {}, {'a': 1},
    {'size': [96, 128], 'counts': [0]}, {'size': [96, 128], 'counts': 'PPPPP'},
]  # fmt: skip


def places(part, path=()):
    """Paths of everything in a content."""
    yield path
    items = (
        part.items()
        if isinstance(part, dict)
        else enumerate(part)
        if isinstance(part, list)
        else ()
    )
    for key, value in items:
        yield from places(value, (*path, key))


def damaged(content, seed):
    """A file with one or two faults of the given seed."""
    draw = random.Random(seed)
    if draw.random() < 0.15:
        data = bytearray(json.dumps(content).encode())
        position = draw.randrange(len(data))
        how = draw.randrange(3)
        if how == 0:
            return bytes(data[:position])
        data[position] = (
            draw.randrange(256) if how == 1 else data[position] ^ 1 << draw.randrange(8)
        )
        return bytes(data)
    content = copy.deepcopy(content)
    content.pop('info')
    for _ in range(draw.randint(1, 2)):
        *where, last = draw.choice([path for path in places(content) if path])
        part = content
        for step in where:
            part = part[step]
        how = draw.randrange(4)
        if how == 0:
            del part[last]
        elif how == 1 and isinstance(part, list):
            part.insert(last, copy.deepcopy(part[last]))
        elif how == 2 and isinstance(part[last], int):
            part[last] = draw.choice([part[last] + 1, part[last] * 3, part[last] / 7, 0.0])
        else:
            part[last] = draw.choice(VALUES)
    return content


def refusal(function, *args):
    """The text of an annotation file's error or of a missing image's; None if it does no harm."""
    try:
        function(*args)
    except (AnnotationError, FileNotFoundError) as error:
        return str(error)
    return None


def test_any_damage_is_refused_by_name_or_does_no_harm(cfg, content):
    refused = used = 0
    for seed in range(120):
        write(cfg, damaged(content, seed))
        if (text := refusal(check_data_root, cfg, LOADERS)) is not None:
            assert text.startswith((KEYS['train'], 'val_evaluator.ann_file=')), seed
            refused += 1
        else:
            text = refusal(use, cfg)
            assert text is None or 'images/train' in text, seed  # another image's name
            used += 1
    assert refused > 90
    assert used > 3


def test_a_check_alone_is_of_any_classes(cfg, content):
    write(cfg, content)
    check_coco('key', cfg.val_evaluator.ann_file)
