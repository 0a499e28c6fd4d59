"""All processes validate and save the same statistics of BatchNorm."""

from types import SimpleNamespace

import torch
from processes import run_two_processes
from torch import nn

from mmqkformer.engine import SyncStatisticsHook


def one_of_two_processes(rank, folder):
    run = SimpleNamespace(model=nn.BatchNorm1d(2))
    mean = run.model.running_mean
    hook = SyncStatisticsHook()
    seen = []

    def train():
        mean.copy_(torch.tensor([0.0, 2.0]) * (rank + 1))
        hook.after_train_iter(run, 0)

    train()
    hook.after_train_epoch(run)
    seen.append(mean.tolist())
    train()
    hook.before_val_epoch(run)
    seen.append(mean.tolist())
    train()
    hook.before_checkpoint(run)
    seen.append(mean.tolist())
    # Trained no more, the values are left alone
    mean.add_(rank)
    hook.before_val_epoch(run)
    hook.before_checkpoint(run)
    seen.append((mean - rank).tolist())
    torch.save(seen, folder / f'{rank}.pt')


def test_statistics_are_averaged_at_epochs_ends_validations_and_checkpoints(tmp_path):
    run_two_processes(one_of_two_processes, tmp_path)
    for rank in (0, 1):
        assert torch.load(tmp_path / f'{rank}.pt') == [[0.0, 3.0]] * 4


def test_one_process_keeps_its_own():
    run = SimpleNamespace(model=nn.BatchNorm1d(2))
    hook = SyncStatisticsHook()
    hook.after_train_iter(run, 0)
    hook.before_checkpoint(run)
    hook.after_train_epoch(run)
    assert run.model.running_mean.tolist() == [0.0, 0.0]
