"""Preemption by the tools: two processes that agree, and a job that queues itself again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_dist import free_port

ROOT = Path(__file__).resolve().parents[2]

# Signals reach the processes of a run at different iterations, or only one of them
ASK_ONE = """
import os, runpy, signal, sys
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class AskTheSecond(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.rank == 1 and runner.iter == 3:
            os.kill(os.getpid(), signal.SIGUSR1)

sys.argv[0] = sys.argv.pop(1)
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def train(config, work_dir, script, ask=False):
    """Trains in two processes."""
    options = ['optim_wrapper.accumulative_counts=2']
    if ask:
        options.append('default_hooks.ask.type=AskTheSecond')
    launcher = ['-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={free_port()}']
    program = [script, ROOT / 'tools' / 'train.py', config, '--launcher', 'pytorch']
    arguments = ['--work-dir', work_dir, '--resume', '--cfg-options', *options]
    done = subprocess.run(
        [sys.executable, *launcher, *program, *arguments],
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.slow
def test_two_processes_leave_behind_the_same_step(make_config, tmp_path):
    average = "dict(type='OptimStepEMAHook', momentum=0.1, num_samples=8)"
    hooks = ["dict(type='PreemptionHook')", "dict(type='SyncStatisticsHook')", average]
    seeded = "sampler=dict(type='SeededSampler', shuffle=True, multiple_of=4)"
    config = make_config(
        ("batch_size=4,\n    num_workers=0,\n    sampler=dict(type='DefaultSampler', shuffle=True)",
         f'batch_size=2,\n    num_workers=0,\n    {seeded}'),
        ("custom_hooks = [", f"custom_hooks = [{', '.join(hooks)}, "),
    )  # fmt: skip
    config.write_text(config.read_text() + 'randomness = dict(seed=0)\n')
    script = tmp_path / 'ask.py'
    script.write_text(ASK_ONE)
    unbroken, broken = tmp_path / 'unbroken', tmp_path / 'broken'
    code, error = train(config, unbroken, script)
    assert code == 0, error[-3000:]
    code, error = train(config, broken, script, ask=True)
    # The launcher ends with 1; of the processes it says what they ended with
    assert code == 1
    assert 'exitcode  : 75' in error.replace('exitcode : ', 'exitcode  : '), error[-3000:]
    # Of epochs of 4 iterations the first was trained: the signal came before iteration 4 of 8
    assert sorted(path.name for path in broken.glob('*.pth')) == ['iter_4.pth']
    code, error = train(config, broken, script)
    assert code == 0, error[-3000:]
    ends = [torch.load(folder / 'epoch_2.pth', weights_only=True) for folder in (unbroken, broken)]
    torch.testing.assert_close(ends[0]['optimizer'], ends[1]['optimizer'], rtol=0, atol=0)
    for part in ('state_dict', 'ema_state_dict'):
        for name, value in ends[0][part].items():
            # Statistics are averaged over the processes once more: the same but for rounding
            exact = {} if 'running' in name else dict(rtol=0, atol=0)
            torch.testing.assert_close(ends[1][part][name], value, **exact)


@pytest.mark.slow
def test_a_job_is_queued_again_and_resumes(make_config, tmp_path):
    """With stand-ins for Slurm: srun runs the command here, scontrol notes what it is told."""
    tools = dict(
        srun='shift\nexec "${@/slurm/none}"', scontrol=f'echo "$@" >> {tmp_path}/scontrol.txt'
    )
    for name, content in tools.items():
        (tmp_path / name).write_text(f'#!/usr/bin/env bash\n{content}\n')
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ,
        'PATH': f'{tmp_path}:{os.environ["PATH"]}',
        'PYTHON': sys.executable,
        'PYTHONPATH': str(ROOT),
        'SLURM_JOB_ID': '17',
    }
    config = make_config(
        ("custom_hooks = [", "custom_hooks = [dict(type='PreemptionHook'), ")
    )  # fmt: skip
    work_dir = tmp_path / 'run'

    def job(epochs):
        command = ['bash', 'tools/slurm_train.sbatch', config, work_dir]
        options = ['--cfg-options', f'train_cfg.max_epochs={epochs}']
        with open(tmp_path / 'log', 'a') as log:
            return subprocess.Popen(
                [*command, *options], cwd=ROOT, env=environment, stdout=log, stderr=log
            )

    first = job(epochs=100_000)
    while not (work_dir / 'epoch_1.pth').exists():
        assert first.poll() is None, (tmp_path / 'log').read_text()[-3000:]
        time.sleep(0.05)
    first.send_signal(signal.SIGUSR1)
    assert first.wait() == 75, (tmp_path / 'log').read_text()[-3000:]
    assert (tmp_path / 'scontrol.txt').read_text() == 'requeue 17\n'
    saved = torch.load((work_dir / 'last_checkpoint').read_text(), weights_only=True)['meta']
    assert job(epochs=saved['epoch'] + 1).wait() == 0, (tmp_path / 'log').read_text()[-3000:]
    assert (
        f'resumed epoch: {saved["epoch"]}, iter: {saved["iter"]}' in (tmp_path / 'log').read_text()
    )
    assert (work_dir / f'epoch_{saved["epoch"] + 1}.pth').is_file()
    assert (tmp_path / 'scontrol.txt').read_text() == 'requeue 17\n'
