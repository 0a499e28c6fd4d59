"""A run that is killed or asked to go, anywhere, ends where the unbroken run ends.

Run as a script, this file is the training run: ``test_resume.py WORK_DIR [OPTIONS]``.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS, TRANSFORMS
from mmengine.runner import Runner
from torch import nn

from mmqkformer.layers import LSQ


@TRANSFORMS.register_module()
class Jitter(BaseTransform):
    """Noise of all three generators that a pipeline may use."""

    def transform(self, results):
        noise = random.gauss(0, 1) + np.random.randn() + torch.randn(()).item()
        return dict(inputs=torch.randn(4) + results['label'] + noise / 10, label=results['label'])


@DATASETS.register_module()
class FiftySamples(BaseDataset):
    def load_data_list(self):
        return [dict(label=i % 3) for i in range(50)]


@MODELS.register_module()
class Perceptron(BaseModel):
    """Batch norm, dropout, drop path, mixup and weights of four bits."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(4, 3)
        LSQ()(self, 'perceptron')

    def forward(self, inputs, label, mode='tensor'):
        mix = np.random.beta(0.5, 0.5)
        other = torch.randperm(len(inputs))
        x = mix * inputs + (1 - mix) * inputs[other]
        logits = self.head(x + self.branch(x) * (torch.rand(len(x), 1) > 0.3)).float()
        loss = nn.functional.cross_entropy
        return dict(loss=mix * loss(logits, label) + (1 - mix) * loss(logits, label[other]))


class GetSignal(Hook):
    """The process group gets a signal before iteration ``at`` (counted from 0) is trained."""

    def __init__(self, at, number):
        self.at = at
        self.number = number

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at:
            os.killpg(0, self.number)


def half_written(descriptor):
    """In place of ``os.fsync``: half of the file is on disk when the process is killed."""
    os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)


def main(work_dir, resume, every, kill_at, term_at, die_in_write):
    if die_in_write:
        os.fsync = half_written
    hooks = [dict(type='OptimStepEMAHook', momentum=0.1), dict(type='PreemptionHook')]
    if kill_at is not None:
        hooks.append(GetSignal(kill_at, signal.SIGKILL))
    if term_at is not None:
        hooks.append(GetSignal(term_at, signal.SIGTERM))
    interval = dict(interval=1) if every is None else dict(interval=every, by_epoch=False)
    runner = Runner(
        model=dict(type='Perceptron'),
        work_dir=work_dir,
        train_dataloader=dict(
            batch_size=4,
            num_workers=2,
            persistent_workers=True,
            drop_last=True,
            dataset=dict(
                type='FiftySamples', pipeline=[dict(type='SeedSample'), dict(type='Jitter')]
            ),
            sampler=dict(type='SeededSampler', shuffle=True, multiple_of=8),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(type='ResumableTrainLoop', max_epochs=3),
        optim_wrapper=dict(
            type='CPUAmpOptimWrapper',
            dtype='float16',
            # Grows every 5 steps, so that the scaler's state matters
            loss_scale=dict(init_scale=256.0, growth_interval=5),
            accumulative_counts=2,
            optimizer=dict(type='AdamW', lr=0.01),
        ),
        param_scheduler=dict(
            type='WarmupCosineLR', warmup_epochs=1, max_epochs=3, convert_to_iter_based=True
        ),
        default_hooks=dict(
            checkpoint=dict(type='AtomicCheckpointHook', max_keep_ckpts=1, **interval),
            plain_checkpoint=dict(type='PlainCheckpointHook'),
            iteration_seed=dict(type='IterationSeedHook'),
        ),
        custom_hooks=hooks,
        randomness=dict(seed=1),
        resume=resume,
        experiment_name=Path(work_dir).name,
    )
    runner.train()


def start(work_dir, *arguments):
    """A training process; its output goes to a file, lest a full pipe stop it."""
    command = [sys.executable, __file__, str(work_dir), *arguments]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': root}
    with open(f'{work_dir}.log', 'a') as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )


def train(work_dir, *arguments):
    return start(work_dir, *arguments).wait()


def load(path):
    return torch.load(path, weights_only=True)


def names(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


def assert_ends_alike(unbroken, broken, name):
    """Weights, average, optimizer, scaler, schedule and every loss that was logged."""
    assert 'Traceback' not in Path(f'{broken}.log').read_text()
    expected, resumed = load(unbroken / name), load(broken / name)
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        torch.testing.assert_close(resumed[part], expected[part], rtol=0, atol=0)
    assert resumed['param_schedulers'] == expected['param_schedulers']
    # 36 micro-steps are 18 steps; the scale of 256 doubled after steps 5, 10 and 15
    assert expected['ema_state_dict']['steps'] == 18
    assert expected['optimizer']['loss_scaler']['scale'] == 2048.0
    losses = [
        content['message_hub']['log_scalars']['train/loss']['history_buffer']['log']
        for content in (expected, resumed)
    ]
    assert len(losses[0]) == 36
    assert torch.equal(*losses)
    assert names(broken) == [name]


def test_a_run_killed_twice_ends_as_the_unbroken_one(tmp_path):
    unbroken, broken = tmp_path / 'unbroken', tmp_path / 'broken'
    beside = start(unbroken)

    assert train(broken, '--kill-at', '17') == -signal.SIGKILL
    assert names(broken) == ['epoch_1.pth']

    assert train(broken, '--resume', '--die-in-write') == -signal.SIGKILL
    assert len(list(broken.glob('.epoch_2.pth.*.part'))) == 1
    assert names(broken) == ['epoch_1.pth']
    assert (broken / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    assert load(broken / 'epoch_1.pth')['meta']['epoch'] == 1

    assert train(broken, '--resume') == 0, Path(f'{broken}.log').read_text()[-3000:]
    assert beside.wait() == 0, Path(f'{unbroken}.log').read_text()[-3000:]
    assert 'resumed epoch: 1, iter: 12' in Path(f'{broken}.log').read_text()
    assert_ends_alike(unbroken, broken, 'epoch_3.pth')


@pytest.mark.parametrize(
    'points',
    [
        ['9', '23'],
        pytest.param(
            ['3', '5', '8', '12', '13', '18', '24', '27', '31', '35'], marks=pytest.mark.slow
        ),
    ],
    ids=['2 kills', '10 kills'],
)
def test_a_run_resumes_inside_an_epoch(tmp_path, points):
    """Checkpoints of every second iteration, of epochs of twelve."""
    unbroken, broken = tmp_path / 'unbroken', tmp_path / 'broken'
    beside = start(unbroken, '--every', '2')
    for point in points:
        assert train(broken, '--resume', '--every', '2', '--kill-at', point) == -signal.SIGKILL
        assert names(broken) == [f'iter_{int(point) // 2 * 2}.pth']
    assert train(broken, '--resume', '--every', '2') == 0, Path(f'{broken}.log').read_text()[-3000:]
    assert beside.wait() == 0, Path(f'{unbroken}.log').read_text()[-3000:]
    log = Path(f'{broken}.log').read_text()
    assert 'epoch 1 goes on behind iteration 8 of 12' in log
    assert_ends_alike(unbroken, broken, 'iter_36.pth')


def test_a_run_that_is_asked_to_go_saves_and_says_so(tmp_path):
    """SIGTERM to the whole group, workers included, in the first half of an optimizer step."""
    unbroken, broken = tmp_path / 'unbroken', tmp_path / 'broken'
    beside = start(unbroken)
    assert train(broken, '--term-at', '14') == 75, Path(f'{broken}.log').read_text()[-3000:]
    assert names(broken) == ['epoch_1.pth', 'iter_16.pth']
    assert load(broken / 'iter_16.pth')['meta']['epoch'] == 1
    assert 'SIGTERM: saved' in Path(f'{broken}.log').read_text()
    # Twice between two regular checkpoints: the first interim one goes with the second
    assert train(broken, '--resume', '--term-at', '19') == 75
    assert names(broken) == ['epoch_1.pth', 'iter_20.pth']
    assert train(broken, '--resume') == 0, Path(f'{broken}.log').read_text()[-3000:]
    assert beside.wait() == 0
    assert_ends_alike(unbroken, broken, 'epoch_3.pth')


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('work_dir')
    parser.add_argument('--resume', action='store_true')
    parser.add_argument('--every', type=int, help='iterations between checkpoints; else an epoch')
    parser.add_argument('--kill-at', type=int)
    parser.add_argument('--term-at', type=int)
    parser.add_argument('--die-in-write', action='store_true')
    main(**vars(parser.parse_args()))
