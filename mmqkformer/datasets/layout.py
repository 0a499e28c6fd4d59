"""Tell a missing data set before anything is built, with the layout that was expected."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config

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
CIFAR_FOLDERS = {'CIFAR10': 'cifar-10-batches-py', 'CIFAR100': 'cifar-100-python'}


def check_data_root(cfg: Config, loaders: Sequence[str]) -> None:
    """Check that the folders and annotation files of a config's data sets exist.

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
    """
    for loader in loaders:
        if cfg.get(loader) is not None:
            for key, dataset in _datasets(f'{loader}.dataset', cfg[loader]['dataset']):
                _check_dataset(key, dataset)


def _datasets(key: str, dataset: dict) -> Iterator[tuple[str, dict]]:
    """The data sets inside wrappers such as RepeatDataset and ConcatDataset, with their keys."""
    if 'datasets' in dataset:
        for i, part in enumerate(dataset['datasets']):
            yield from _datasets(f'{key}.datasets[{i}]', part)
    elif 'dataset' in dataset:
        yield from _datasets(f'{key}.dataset', dataset['dataset'])
    else:
        yield key, dataset


def _check_dataset(key: str, dataset: dict) -> None:
    kind = dataset['type'] if isinstance(dataset['type'], str) else dataset['type'].__name__
    kind = kind.split('.')[-1].removeprefix('BGR')  # the same files
    root = dataset.get('data_root')
    if not root or '://' in root or dataset.get('download', False):
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
