"""Tests of several processes."""

import multiprocessing
import os

import torch
import torch.multiprocessing as mp

# The server imports them once, for all processes of all tests
multiprocessing.set_forkserver_preload(['mmqkformer.engine', 'mmqkformer.models'])


def member(rank, function, folder):
    os.environ['LOCAL_RANK'] = str(rank)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    function(rank, folder)
    torch.distributed.destroy_process_group()


def run_two_processes(function, folder):
    """Runs ``function(rank, folder)``, of a module, in both processes of a group.

    They are not forked from this one: autograd and OpenMP would wait for ever for threads that it
    has and a fork of it has not.
    """
    mp.start_processes(member, (function, folder), nprocs=2, start_method='forkserver')
