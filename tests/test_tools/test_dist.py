"""Two gloo processes under torchrun."""

import json
import os
import pickle
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from networks import awaken
from PIL import Image

TOOLS = Path(__file__).resolve().parents[2] / 'tools'

GRADIENTS = """
import sys
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmpretrain.structures import DataSample
from mmqkformer.engine import launch

cfg = Config.fromfile(sys.argv[1])
cfg.launcher = 'pytorch'
torch.set_default_dtype(torch.float64)
model = launch.build_runner(cfg).model
model.module.load_state_dict(torch.load(sys.argv[2], weights_only=True))
model.eval()
images, labels = torch.load(sys.argv[3], weights_only=True)
mine = slice(4 * get_rank(), 4 * get_rank() + 4)
samples = [DataSample().set_gt_label(label) for label in labels[mine]]
losses = model(images[mine], samples, mode='loss')
losses['loss'].backward()
if get_rank() == 0:
    grads = {name: p.grad for name, p in model.module.named_parameters()}
    torch.save(grads, sys.argv[4])
del model, losses
launch.leave_process_group()
"""


THREADS = """
import os
import sys
from mmengine.config import Config
from mmqkformer.engine import launch

cfg = Config.fromfile(sys.argv[1])
cfg.launcher = 'pytorch'
runner = launch.build_runner(cfg)
runner.train()
runner.test()
during = len(os.listdir('/proc/self/task'))
del runner
launch.leave_process_group()
# One write: the processes share the output
sys.stdout.write(f'threads {during} {len(os.listdir("/proc/self/task"))}\\n')
"""


# Thirteen images of two classes, in batches of four; the release's loaders, loops and leak
RELEASE = """
_base_ = '{configs}/qkformer/release/hst-4-384_1xb64_cifar10.py'
model = dict(
    backbone=dict(
        arch=dict(
            embed_dims=[16, 32, 64],
            num_heads=[2, 2, 2],
            stem=dict(channels=[8, 16], pools=[False, False], shortcut_from=1),
        ),
        time_steps=2,
    ),
    head=dict(num_classes=2, in_channels=64),
)
data_preprocessor = dict(num_classes=2)
test_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root='{folder}',
        pipeline=[dict(type='LoadVerifiedImage'), *_base_.test_pipeline],
    ),
)
test_evaluator = dict(topk=(1,))
"""


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return str(s.getsockname()[1])


def run(*command, **variables):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, **variables}
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    'precision',
    [
        ('optim_wrapper.type=AmpOptimWrapper',),
        (
            'optim_wrapper.type=CPUAmpOptimWrapper',
            'optim_wrapper.dtype=float16',
            'optim_wrapper.loss_scale=dynamic',
        ),
    ],
    ids=['bfloat16', 'float16-with-scaler'],
)
def test_two_processes_train_and_test(precision, make_config, tmp_path):
    config = make_config()
    work_dir = config.parent / 'work_dir'
    options = (
        'train_cfg.max_epochs=1',
        'optim_wrapper.accumulative_counts=2',
        'default_hooks.ema.type=OptimStepEMAHook',
        *precision,
    )
    train = (TOOLS / 'dist_train.sh', config, 2, '--auto-scale-lr', '--cfg-options')
    run('bash', *train, *options, PORT=free_port())
    (scalars,) = work_dir.rglob('scalars.json')
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    # 16 images make 2 iterations of 2 x 4; 2 x 4 x 2 images make an optimizer step
    assert [line['step'] for line in lines if 'loss' in line] == [1, 2]
    assert lines[0]['lr'] == 1e-3 * 16 / 64
    saved = torch.load(work_dir / 'epoch_1.pth', weights_only=True)
    assert saved['ema_state_dict']['steps'] == 1
    assert bool(saved['optimizer']['loss_scaler']) == (len(precision) > 1)

    out = tmp_path / 'metrics.json'
    test = (TOOLS / 'dist_test.sh', config, work_dir / 'epoch_1.pth', 2)
    run('bash', *test, '--out', out, '--out-item', 'metrics', PORT=free_port())
    # The file holds the average, whose statistics are not those of the raw weights
    validated = next(line['accuracy_ema/top1'] for line in lines if 'accuracy_ema/top1' in line)
    assert json.loads(out.read_text())['accuracy/top1'] == validated


def test_gradients_of_two_processes_are_those_of_the_joint_batch(make_config, tmp_path):
    config = make_config()
    # float64: rounding depends on the batch's size, and a spike may not
    model = MODELS.build(Config.fromfile(config).model).double()
    images = torch.randn(8, 3, 16, 16, dtype=torch.float64)
    labels = torch.randint(2, (8,))
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    torch.save((images, labels), tmp_path / 'batch.pth')
    script = tmp_path / 'gradients.py'
    script.write_text(GRADIENTS)
    files = (tmp_path / name for name in ('weights.pth', 'batch.pth', 'gradients.pth'))
    launcher = (sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', 2)
    run(*launcher, '--master_port', free_port(), script, config, *files)

    model.eval()
    samples = [DataSample().set_gt_label(label) for label in labels]
    model(images, samples, mode='loss')['loss'].backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    assert any(grad.abs().max() > 1e-3 for grad in expected.values())
    gradients = torch.load(tmp_path / 'gradients.pth', weights_only=True)
    torch.testing.assert_close(gradients, expected, rtol=1e-9, atol=1e-12)


@pytest.fixture
def release(tmp_path):
    """A config derived from one of ``release/``, and weights with which neighbours show."""
    random = np.random.default_rng(0)
    for name, count in (('a', 6), ('b', 7)):
        (tmp_path / 'images' / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / 'images' / name / f'{i}.png')
    config = tmp_path / 'release.py'
    config.write_text(RELEASE.format(configs=TOOLS.parent / 'configs', folder=tmp_path / 'images'))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(Config.fromfile(config).model)
    awaken(model, torch.randn(8, 3, 32, 32))
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    return config, tmp_path / 'weights.pth'


def scores(path):
    """{image: scores} of predictions that ``tools/test.py`` wrote."""
    predictions = pickle.loads(path.read_bytes())
    found = {Path(sample['img_path']).relative_to(path.parent): sample for sample in predictions}
    assert len(found) == len(predictions) == 13
    return {name: sample['pred_score'] for name, sample in found.items()}


def test_two_processes_test_the_release_as_one_does(release, run_tool, tmp_path):
    """Each image once and with the neighbours it has in a single process: the same bits."""
    config, weights = release
    alone, divided, other = (tmp_path / f'{name}.pkl' for name in ('alone', 'divided', 'other'))
    test = ('--work-dir', tmp_path / 'work_dir', '--out')
    run_tool('test.py', config, weights, *test, alone)
    run('bash', TOOLS / 'dist_test.sh', config, weights, 2, *test, divided, PORT=free_port())
    expected = scores(alone)
    for name, score in scores(divided).items():
        assert torch.equal(score, expected[name]), name
    # Other neighbours, other scores
    run_tool(
        'test.py', config, weights, *test, other, '--cfg-options', 'test_dataloader.batch_size=3'
    )
    assert any(not torch.equal(score, expected[name]) for name, score in scores(other).items())


@pytest.mark.slow
def test_no_thread_outlives_the_process_group(make_config, tmp_path):
    """One that does may abort the process when Python ends."""
    script = tmp_path / 'threads.py'
    script.write_text(THREADS)
    launcher = (sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', 2)
    out = run(*launcher, '--master_port', free_port(), script, make_config())
    counts = re.findall(r'threads (\d+) (\d+)', out)
    assert len(counts) == 2
    assert all(int(during) > 1 and after == '1' for during, after in counts)


EVALUATORS = "[dict(type='Accuracy', topk=(1,)), dict(type='CrossEntropy')]"


@pytest.mark.slow
@pytest.mark.parametrize('average', [False, True], ids=['raw', 'average'])
@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
def test_two_processes_validate_what_they_save(average, by_epoch, make_config, run_tool, tmp_path):
    """Each has statistics of its own images; the checkpoint and the validation have one."""
    ema = "dict(type='OptimStepEMAHook', momentum=0.3, num_samples=8), " if average else ''
    runtime = (
        f'custom_hooks = [{ema}',
        "dict(type='SyncStatisticsHook'), dict(type='PlainCheckpointHook')]\n",
        "log_processor = dict(mean_pattern='time')",  # no means over validations
    )
    changes = [
        ("custom_hooks = [dict(type='PlainCheckpointHook')]", ''.join(runtime)),
        ("dict(type='Accuracy', topk=(1,))", EVALUATORS),
        ('lr=1e-3', 'lr=1e-2'),
        # Statistics of the last batches, so that neurons spike and processes differ
        ('time_steps=2', "time_steps=2, norm_cfg=dict(type='BN', momentum=0.9)"),
    ]
    if not by_epoch:
        changes += [
            (
                "type='ResumableTrainLoop', max_epochs=2",
                'by_epoch=False, max_iters=4, val_interval=2',
            ),
            ("CheckpointHook', interval=1", "CheckpointHook', by_epoch=False, interval=2"),
            ("LoggerHook', interval=1", "LoggerHook', interval=1, log_metric_by_epoch=False"),
        ]
    config = make_config(*changes)
    work_dir = config.parent / 'work_dir'
    run('bash', TOOLS / 'dist_train.sh', config, 2, PORT=free_port())
    (scalars,) = work_dir.rglob('scalars.json')
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    validations = {line['step']: line for line in lines if 'accuracy/top1' in line}
    assert sorted(validations) == ([1, 2] if by_epoch else [2, 4])
    out = tmp_path / 'metrics.json'
    for step, reported in validations.items():
        checkpoint = work_dir / f'{"epoch" if by_epoch else "iter"}_{step}.pth'
        run_tool('test.py', config, checkpoint, '--out', out, '--out-item', 'metrics')
        name = 'loss_ema' if average else 'loss'
        # The sum over samples is in another order
        assert json.loads(out.read_text())['loss'] == pytest.approx(reported[name], rel=1e-12)
