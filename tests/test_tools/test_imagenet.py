"""The page on ImageNet: every layout and fragment of it trains and validates."""

import json
import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
BASE = 'PATH/configs/qkformer/hst-10-384_8xb64_in1k.py'
SUBSET, LMDB, WORKERS, CLIPPING = re.findall(
    r'^```python\n(.*?)^```', (ROOT / 'docs' / 'imagenet.md').read_text(), re.M | re.S
)
FOLDERS = ['n01440764', 'n01443537', 'n01484850', 'n01491361']

# A network and batches that a test can afford
TINY = """
_base_ = '{base}'
model = dict(
    backbone=dict(
        _delete_=True,
        type='QKFormer',
        arch=dict(
            embed_dims=[8, 16],
            depths=[1, 1],
            num_heads=[2, 2],
            mlp_ratios=[1, 1],
            attentions=['QKTokenAttention', 'SpikingSelfAttention'],
            stem=dict(channels=[4, 8], pools=[True, True], shortcut_from=1),
            pool='first',
        ),
        time_steps=1,
    ),
    head=dict(in_channels=16),
)
train_dataloader = dict(batch_size=2, sampler=dict(multiple_of=4))
val_dataloader = dict(batch_size=4)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
param_scheduler = dict(max_epochs=1, warmup_epochs=0)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(save_best='accuracy/top1'))
custom_hooks = []
visualizer = None
experiment_name = '{{{{$EXPERIMENT:tiny}}}}'
"""
ALONE = [
    f'{split}_dataloader.{option}'
    for split in ('train', 'val', 'test')
    for option in ('num_workers=0', 'persistent_workers=False')
]


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """Two images for each of four classes, in folders; returns the folder of the set."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for split in ('train', 'val'):
        for folder in FOLDERS:
            (tmp_path / 'data/imagenet' / split / folder).mkdir(parents=True)
            for i in range(2):
                pixels = random.integers(0, 255, (40, 48, 3), np.uint8)
                path = tmp_path / 'data/imagenet' / split / folder / f'{folder}_{i}.JPEG'
                Image.fromarray(pixels).save(path)
    return tmp_path / 'data/imagenet'


@pytest.fixture
def train(tmp_path, run_tool):
    """Trains the four classes with a fragment of the page; returns the log."""

    def run(fragment=None, options=ALONE):
        (tmp_path / 'in4.py').write_text(SUBSET.replace('PATH', str(ROOT)))
        if fragment:
            assert BASE in fragment
            (tmp_path / 'fragment.py').write_text(fragment.replace(BASE, 'in4.py'))
        shutil.rmtree(tmp_path / 'work_dirs', ignore_errors=True)
        config = tmp_path / 'tiny.py'
        config.write_text(TINY.format(base='fragment.py' if fragment else 'in4.py'))
        run_tool('train.py', config, *(['--cfg-options', *options] if options else []))
        (log,) = (tmp_path / 'work_dirs/tiny').glob('*/*.log')
        return log.read_text()

    return run


def test_some_of_the_classes(imagenet, tmp_path, train, run_tool):
    assert re.search(r'Epoch\(val\) \[1\]\[2/2\] +val/accuracy/top1: ', train())
    arguments = ['--out', 'metrics.json', '--out-item', 'metrics', '--cfg-options', *ALONE]
    run_tool('test.py', tmp_path / 'tiny.py', 'work_dirs/tiny/epoch_1.pth', *arguments)
    assert json.loads(Path('metrics.json').read_text())['accuracy/top1'] in range(0, 101)


def test_some_of_the_classes_without_the_keys(imagenet, tmp_path, run_tool):
    config = ROOT / 'configs/qkformer/hst-10-384_8xb64_in1k.py'
    message = (
        r'^train_dataloader\.dataset: 4 class folders in data/imagenet/train, expected 1000, one '
        r'.*train_dataloader\.dataset\.metainfo\.classes=.*'
        r'model\.head\.num_classes=4 and data_preprocessor\.num_classes=4$'
    )
    with pytest.raises(ValueError, match=message):
        run_tool('train.py', config)


def test_a_flat_val_with_a_list(imagenet, train):
    lines = []
    for label, folder in enumerate(FOLDERS):
        for path in sorted((imagenet / 'val' / folder).iterdir()):
            path.rename(imagenet / 'val' / path.name)
            lines.append(f'{path.name} {label}')
        (imagenet / 'val' / folder).rmdir()
    (imagenet / 'meta').mkdir()
    (imagenet / 'meta/val.txt').write_text('\n'.join(lines))
    assert re.search(r'Epoch\(val\) \[1\]\[2/2\] +val/accuracy/top1: ', train())
    (imagenet / 'meta/val.txt').write_text('\n'.join([*lines[:-1], lines[-1].replace(' 3', ' 4')]))
    message = r'val_dataloader\.dataset: gt_label=4 of sample 7 of .*meta/val\.txt \(.*_1\.JPEG\)'
    with pytest.raises(ValueError, match=message):
        train()


class Environment(dict):
    """What mmengine's backend asks of the package lmdb."""

    def begin(self, write):
        assert not write
        return self

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass


def test_images_in_an_lmdb(imagenet, train, monkeypatch):
    """With a stand-in for the package lmdb; mmengine's backend is the real one."""
    lists = {}
    environment = Environment()
    for label, folder in enumerate(FOLDERS):
        for path in sorted((imagenet / 'train' / folder).iterdir()):
            key = f'{folder}/{path.name}'
            environment[key.encode()] = path.read_bytes()
            lists[key] = label
            path.unlink()
    opened = []

    def open_lmdb(path, **kwargs):
        opened.append(path)
        return environment

    monkeypatch.setitem(sys.modules, 'lmdb', types.SimpleNamespace(open=open_lmdb))
    (imagenet / 'meta').mkdir()
    (imagenet / 'meta/train.txt').write_text('\n'.join(f'{k} {v}' for k, v in lists.items()))
    assert re.search(r'Epoch\(train\) \[1\]\[4/4\] .* loss: ', train(LMDB))
    assert opened == ['data/imagenet/train.lmdb']


def test_workers_and_batches_ahead(imagenet, train, monkeypatch):
    made = []
    init = sys.modules['torch.utils.data'].DataLoader.__init__

    def spy(self, *args, **kwargs):
        init(self, *args, **kwargs)
        made.append((self.num_workers, self.prefetch_factor, self.persistent_workers))

    monkeypatch.setattr('torch.utils.data.DataLoader.__init__', spy)
    assert re.search(r'Epoch\(val\) \[1\]\[2/2\] +val/accuracy/top1: ', train(WORKERS, options=[]))
    assert made == [(4, 4, True), (2, 2, False)]


def test_gradients_are_clipped(imagenet, train):
    norms = re.findall(r'grad_norm: (\S+)', train(CLIPPING))
    assert norms
    assert all(float(norm) > 0 for norm in norms)
