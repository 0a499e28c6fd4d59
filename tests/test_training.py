"""Training the digits model end to end: killed and resumed, it ends where the unbroken run ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / 'configs' / 'qkformer' / 'hst-3-128_1xb64_digits.py'
# Everything that could tell a resumed run from an unbroken one, on a part of the data
OPTIONS = [
    'train_dataloader.num_workers=2',
    'train_dataloader.persistent_workers=True',
    'train_dataloader.batch_size=16',
    'train_dataloader.dataset.indices=128',
    'train_dataloader.sampler.multiple_of=32',
    'val_dataloader.dataset.indices=32',
    'train_cfg.max_epochs=4',
    'optim_wrapper.accumulative_counts=2',
    'optim_wrapper.type=CPUAmpOptimWrapper',
    'optim_wrapper.dtype=float16',
    'optim_wrapper.loss_scale=dynamic',
    'model.backbone.drop_path_rate=0.2',
    'model.backbone.time_steps=2',
    'data_preprocessor.batch_augments.augments.type=Mixup',
    'data_preprocessor.batch_augments.augments.alpha=0.5',
]


def train(work_dir, *arguments):
    """A training process; its output goes to a file, lest a full pipe stop it."""
    log = open(work_dir.parent / f'{work_dir.name}.log', 'a')  # noqa: SIM115 - the child's
    command = [sys.executable, ROOT / 'tools' / 'train.py', CONFIG, '--work-dir', work_dir]
    return subprocess.Popen(
        [*command, *arguments, '--cfg-options', *OPTIONS], stdout=log, stderr=log
    )


def final_state(work_dir):
    return torch.load(work_dir / 'epoch_4.pth', weights_only=True)


def assert_same(a, b, path=''):
    assert type(a) is type(b), path
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f'{path}.{key}')
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b)):
            assert_same(x, y, f'{path}[{i}]')
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


@pytest.mark.slow
def test_a_killed_and_resumed_run_equals_the_unbroken_one(tmp_path):
    unbroken, broken = tmp_path / 'unbroken', tmp_path / 'broken'
    assert train(unbroken).wait() == 0, (tmp_path / 'unbroken.log').read_text()[-3000:]

    victim = train(broken)
    while not (broken / 'epoch_2.pth').exists():
        assert victim.poll() is None, (tmp_path / 'broken.log').read_text()[-3000:]
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not (broken / 'epoch_4.pth').exists()
    assert train(broken, '--resume').wait() == 0, (tmp_path / 'broken.log').read_text()[-3000:]

    expected, resumed = final_state(unbroken), final_state(broken)
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        assert_same(expected[part], resumed[part], part)
    assert expected['optimizer']['loss_scaler']['scale'] > 0
