"""A QKFormer of a few thousand parameters, sixteen images, and a way to run a tool in-process."""

import runpy
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from mmengine.utils import mkdir_or_exist
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
custom_imports = dict(imports=['mmqkformer'], allow_failed_imports=False)
default_scope = 'mmpretrain'
experiment_name = '{{{{$EXPERIMENT:tiny}}}}'
work_dir = '{folder}/work_dir'
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='QKFormer',
        arch=dict(
            embed_dims=[8, 16],
            depths=[1, 1],
            num_heads=[2, 2],
            mlp_ratios=[1, 1],
            attentions=['QKTokenAttention', 'SpikingSelfAttention'],
            stem=dict(channels=[4, 8], pools=[False, True], shortcut_from=1),
            pool='last',
        ),
        time_steps=2,
    ),
    head=dict(type='SpikingClsHead', num_classes=2, in_channels=16),
)
data_preprocessor = dict(num_classes=2, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)
pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CustomDataset', data_root='{folder}/data', data_prefix='train', pipeline=pipeline
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CustomDataset', data_root='{folder}/data', data_prefix='val', pipeline=pipeline
    ),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='Accuracy', topk=(1,))
val_cfg = test_cfg = dict()
train_cfg = dict(type='ResumableTrainLoop', max_epochs=2)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3))
param_scheduler = dict(type='CosineAnnealingLR', T_max=2)
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(
    checkpoint=dict(type='AtomicCheckpointHook', interval=1),
    logger=dict(type='LoggerHook', interval=1),
)
custom_hooks = [dict(type='PlainCheckpointHook')]
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
"""


@pytest.fixture(scope='session')
def make_config(tmp_path_factory):
    """Write a config, pieces of it replaced, with its own folder of images; returns its path."""

    def make(*replacements):
        folder = tmp_path_factory.mktemp('run')
        random = np.random.default_rng(0)
        for split, count in (('train', 8), ('val', 4)):
            for label, name in enumerate(('dark', 'light')):
                mkdir_or_exist(folder / 'data' / split / name)
                for i in range(count):
                    image = random.integers(0, 128, (16, 16, 3)) + 127 * label
                    path = folder / 'data' / split / name / f'{name}_{i}.png'
                    Image.fromarray(image.astype(np.uint8)).save(path)
        text = CONFIG.format(folder=folder)
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        config = folder / 'tiny.py'
        config.write_text(text)
        return config

    return make


@pytest.fixture(scope='session')
def run_tool():
    """Run ``tools/<name>`` as a script in this process, each time as an experiment of its own."""

    def run(name, *args):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('EXPERIMENT', uuid.uuid4().hex)
            patch.setattr(sys, 'argv', [name, *map(str, args)])
            path = ROOT / 'tools' / name
            patch.syspath_prepend(path.parent)
            runpy.run_path(str(path), run_name='__main__')

    return run


@pytest.fixture(scope='session')
def trained(make_config, run_tool):
    """A config and its work directory after two epochs of ``tools/train.py``."""
    config = make_config()
    run_tool('train.py', config)
    return config, config.parent / 'work_dir'
