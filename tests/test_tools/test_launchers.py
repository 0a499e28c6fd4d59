"""The shell scripts: the commands that they put together."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from mmengine.config import Config

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
CONFIG = TOOLS.parent / 'configs/qkformer/hst-10-384_8xb64_in1k.py'


def command(script, *arguments, **variables):
    """What a script would run, with ``echo`` in place of the interpreter."""
    environment = {**os.environ, 'PYTHON': 'echo', **variables}
    done = subprocess.run(
        ['bash', TOOLS / script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ('script', 'arguments'),
    [('dist_train.sh', ['config.py']), ('dist_test.sh', ['config.py', 'weights.pth'])],
)
def test_torchrun_on_one_node_and_on_several(script, arguments):
    tool = str(TOOLS / script.replace('dist_', '').replace('.sh', '.py'))
    one = command(script, *arguments, '8', '--amp')
    assert one[:2] == ['-m', 'torch.distributed.run']
    assert {'--nnodes=1', '--nproc_per_node=8'} <= set(one)
    assert one[-len(arguments) - 4 :] == [tool, *arguments, '--launcher', 'pytorch', '--amp']
    node = dict(NNODES='4', NODE_RANK='3', MASTER_ADDR='10.0.0.1', PORT='12345')
    expected = {'--nnodes=4', '--node_rank=3', '--master_addr=10.0.0.1', '--master_port=12345'}
    assert expected <= set(command(script, *arguments, '8', **node))


@pytest.mark.parametrize(
    ('script', 'arguments'),
    [
        ('slurm_train.sh', ['config.py', '--work-dir', 'runs']),
        ('slurm_test.sh', ['config.py', 'weights.pth']),
    ],
)
def test_slurm(script, arguments, tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(srun.stat().st_mode | stat.S_IEXEC)
    path = f'{tmp_path}:{os.environ["PATH"]}'
    words = [word for word in arguments if word != '--work-dir']
    slurm = command(
        script, 'gpu', 'job', *words, '--amp', PATH=path, GPUS='16', SRUN_ARGS='--mem 9G'
    )
    assert {'--job-name=job', '--ntasks=16', '--gres=gpu:8', '--mem', '9G'} <= set(slurm)
    assert slurm[-len(arguments) - 3 :] == [*arguments, '--launcher', 'slurm', '--amp']
    # The workers of one loader, which work while the other's wait, and the process
    workers = Config.fromfile(CONFIG).train_dataloader.num_workers
    assert f'--cpus-per-task={workers + 1}' in slurm
    fewer = command(script, 'gpu', 'job', *words, PATH=path, CPUS_PER_TASK='3')
    assert '--cpus-per-task=3' in fewer


def test_missing_arguments_are_told():
    with pytest.raises(subprocess.CalledProcessError):
        command('dist_train.sh', 'config.py')
