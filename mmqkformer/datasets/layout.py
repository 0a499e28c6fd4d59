"""Tell a missing data set before anything is built, with the layout that was expected."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS

from .coco_check import check_coco

IMAGENET = """
{root}
├── train
│   ├── n01440764
│   │   ├── n01440764_10026.JPEG
│   │   └── ...
│   └── ...                (1,000 folders, one for each class)
└── val
    ├── n01440764
    │   ├── ILSVRC2012_val_00000293.JPEG
    │   └── ...
    └── ...                (the same 1,000 folders)"""

CIFAR10 = """
{root}
└── cifar-10-batches-py
    ├── data_batch_1 ... data_batch_5
    ├── test_batch
    └── batches.meta"""

CIFAR100 = """
{root}
└── cifar-100-python
    ├── train
    ├── test
    └── meta"""

CUSTOM = """
{folder}
├── class_a
│   ├── image_1.png
│   └── ...
├── class_b
│   └── ...
└── ..."""

EVENTS = """
{{root}}
├── train                  (a store: events.bin, manifest.csv, meta.json)
└── test                   (likewise)
which this command makes of the original archives:
    python tools/dataset_converters/{tool}.py SRC {{root}}"""

COCO = """
{root}
├── annotations
│   ├── instances_train2017.json
│   └── instances_val2017.json
├── train2017              (118,287 images)
└── val2017                (5,000 images)
and a config of the digits the set that this command makes:
    python tools/dataset_converters/make_digits_coco.py {root}"""

ADE20K = """
{root}
├── images
│   ├── training           (ADE_train_00000001.jpg, ...)
│   └── validation
└── annotations
    ├── training           (ADE_train_00000001.png, ...)
    └── validation"""

LAYOUTS = {
    'ImageNet': IMAGENET,
    'CIFAR10': CIFAR10,
    'CIFAR100': CIFAR100,
    'CustomDataset': CUSTOM,
    'CIFAR10DVS': EVENTS.format(tool='prepare_cifar10dvs'),
    'DVS128Gesture': EVENTS.format(tool='prepare_dvs128gesture'),
    'EventDataset': EVENTS.format(tool='prepare_events'),
    'CocoDataset': COCO,
    'ADE20KDataset': ADE20K,
}
EVENT_SETS = ('CIFAR10DVS', 'DVS128Gesture', 'EventDataset')
FOLDER_SETS = ('ImageNet', 'CustomDataset')
CIFAR_FOLDERS = {'CIFAR10': 'cifar-10-batches-py', 'CIFAR100': 'cifar-100-python'}


def check_data_root(cfg: Config, loaders: Sequence[str]) -> None:
    """Check that the folders and annotation files of a config's data sets exist.

    Where a class is a folder, the folders are counted, too: as many as there are classes, and the
    same for all loaders, since a class is the folder's place in the alphabet.

    Annotation files of COCO's kind are read, too, by the first process.

    Data sets without a ``data_root`` and those behind an address (``s3://...``) are left alone,
    and so are those with ``download=True``. mmpretrain's CIFAR sets would download unasked; here
    the config has to say so, because a machine without a network is better told the layout.

    Args:
        cfg (Config): Config of a training or a test.
        loaders (Sequence[str]): Keys of the data loaders to look at, such as
            ``train_dataloader``; those that the config leaves out or sets to None are passed over.

    Raises:
        FileNotFoundError: If something is missing; the error names the config key and its value
            and shows the expected layout.
        ValueError: If the class folders are not those of the classes, or differ; or if an
            annotation file is broken.
    """
    found: dict[str, list[str]] = {}
    for loader in loaders:
        if cfg.get(loader) is not None:
            for key, dataset in _datasets(f'{loader}.dataset', cfg[loader]['dataset']):
                _check_dataset(key, dataset)
                if (folders := _class_folders(key, dataset)) is not None:
                    found[key] = folders
            if not int(os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or 0):
                _check_annotations(cfg, loader)
    for key, folders in found.items():
        first = next(iter(found))
        if differing := sorted(set(folders) ^ set(found[first])):
            raise ValueError(
                f'{key} and {first}: expected the same class folders; only one has '
                f'{", ".join(differing[:6])}{" and more" if len(differing) > 6 else ""}'
            )


def _datasets(key: str, dataset: dict) -> Iterator[tuple[str, dict]]:
    """The data sets inside wrappers such as RepeatDataset and ConcatDataset, with their keys."""
    if 'datasets' in dataset:
        for i, part in enumerate(dataset['datasets']):
            yield from _datasets(f'{key}.datasets[{i}]', part)
    elif 'dataset' in dataset:
        yield from _datasets(f'{key}.dataset', dataset['dataset'])
    else:
        yield key, dataset


def _kind(dataset: dict) -> str:
    kind = dataset['type'] if isinstance(dataset['type'], str) else dataset['type'].__name__
    return kind.split('.')[-1].removeprefix('BGR')  # the same files


def _is_local(dataset: dict) -> bool:
    root = dataset.get('data_root')
    return bool(root) and '://' not in root and not dataset.get('download', False)


def _check_dataset(key: str, dataset: dict) -> None:
    kind = _kind(dataset)
    root = dataset.get('data_root')
    if not _is_local(dataset):
        return
    folder = _image_folder(kind, dataset)
    needed = [Path(root), folder]
    if label_maps := _prefixes(dataset).get('seg_map_path'):
        needed.append(Path(root) / label_maps)
    if dataset.get('ann_file'):
        needed.append(Path(root) / dataset['ann_file'])
    for path in needed:
        if not path.exists():
            layout = LAYOUTS.get(kind, '').format(root=root, folder=folder)
            expected = f'; {kind} expects{layout}' if layout else ''
            if kind in CIFAR_FOLDERS:
                expected += f'\nor {key}.download=True, to download it'
            raise FileNotFoundError(f'{key}.data_root={root!r}: {path} does not exist{expected}')


def _check_annotations(cfg: Config, loader: str) -> None:
    """Reads the COCO files of a loader and its evaluator."""
    for key, dataset in _datasets(f'{loader}.dataset', cfg[loader]['dataset']):
        if _kind(dataset) != 'CocoDataset' or not _is_local(dataset) or not dataset.get('ann_file'):
            continue
        classes = (dataset.get('metainfo') or {}).get('classes')
        if classes is None:
            classes = DATASETS.get('mmdet.CocoDataset').METAINFO['classes']
        elif isinstance(classes, str):
            classes = list_from_file(classes)
        is_test = dataset.get('test_mode', False)
        check_coco(
            f'{key}.ann_file',
            Path(dataset['data_root'], dataset['ann_file']),
            classes,
            masks=any(step.get('with_mask', False) for step in dataset.get('pipeline') or []),
            annotated=not is_test,
            filter_cfg=None if is_test else dataset.get('filter_cfg'),
        )
    evaluators = cfg.get(loader.replace('_dataloader', '_evaluator')) or []
    for evaluator in [evaluators] if isinstance(evaluators, dict) else evaluators:
        path = evaluator.get('ann_file')
        if str(evaluator.get('type')).endswith('CocoMetric') and path and '://' not in path:
            key = f'{loader.replace("_dataloader", "_evaluator")}.ann_file'
            if not Path(path).exists():
                raise FileNotFoundError(f'{key}={path!r} does not exist')
            metric = evaluator.get('metric', 'bbox')
            check_coco(
                key,
                path,
                masks='segm' in ([metric] if isinstance(metric, str) else metric),
                annotated=(scored := not evaluator.get('format_only', False)),
                scored=scored,
            )


def _class_folders(key: str, dataset: dict) -> list[str] | None:
    """Names of the folders that are classes; None where a list or the config names the classes."""
    kind = _kind(dataset)
    split = dataset.get('split', '')
    if (
        kind not in FOLDER_SETS
        or not _is_local(dataset)
        or dataset.get('ann_file')
        or not dataset.get('with_label', split != 'test')
        or (split and Path(dataset['data_root'], 'meta', f'{split}.txt').exists())
    ):
        return None
    folder = _image_folder(kind, dataset)
    folders = [p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith('.')]
    classes = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(classes, str):
        classes = list_from_file(classes)
    if not folders:
        raise FileNotFoundError(
            f'{key}.data_root={dataset["data_root"]!r}: {folder} has no folders; {kind} expects'
            + LAYOUTS[kind].format(root=dataset['data_root'], folder=folder)
        )
    expected = len(classes) if classes else 1000 if kind == 'ImageNet' else len(folders)
    if len(folders) != expected:
        n = len(folders)
        source = f'as in {key}.metainfo.classes' if classes else 'one for each class of ImageNet-1k'
        raise ValueError(
            f'{key}: {n} class folders in {folder}, expected {expected}, {source}; for these {n} '
            f'classes set {key}.metainfo.classes=[...] (their names, by folder in alphabetical '
            f'order; of the other data loaders, too), model.head.num_classes={n} and '
            f'data_preprocessor.num_classes={n}'
        )
    return None if classes else folders


def _prefixes(dataset: dict) -> dict:
    """Folders under the root by content; mmpretrain takes a bare one for the images'."""
    prefix = dataset.get('data_prefix') or {}
    return prefix if isinstance(prefix, dict) else dict(root=prefix)


def _image_folder(kind: str, dataset: dict) -> Path:
    """Where the samples lie: mmpretrain joins the root and the prefix, or the split's name."""
    prefixes = _prefixes(dataset)
    prefix = next((prefixes[key] for key in ('img_path', 'img', 'root') if prefixes.get(key)), '')
    if kind in ('ImageNet', *EVENT_SETS) and not prefix:
        prefix = dataset.get('split', '')
    if kind in CIFAR_FOLDERS:
        prefix = Path(prefix) / CIFAR_FOLDERS[kind]
    return Path(dataset['data_root']) / prefix
