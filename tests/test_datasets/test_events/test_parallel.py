"""Tasks in several processes: in order, never far ahead, and on after a process has died."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from mmqkformer.datasets.events import parallel
from mmqkformer.datasets.events.parallel import AHEAD, in_order

FOLDER = str(Path(parallel.__file__).parent)


def died(task):
    return 'died', task


def square(task):
    time.sleep(0.001 * (task % 3))
    return task * task


@pytest.mark.parametrize('workers', [1, 3])
@pytest.mark.parametrize('count', [0, 1, 20])
def test_results_have_the_order_of_the_tasks(workers, count):
    assert list(in_order(square, range(count), workers, died)) == [i * i for i in range(count)]


def fail(task):
    if task == 4:
        raise KeyError(task)
    return task


def test_an_error_of_the_function_is_the_callers():
    results = in_order(fail, range(10), 2, died)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(KeyError):
        next(results)


def note(task):
    number, folder = task
    (folder / str(number)).touch()
    return number


def test_what_nobody_asked_for_is_not_done(tmp_path):
    with closing(in_order(note, [(i, tmp_path) for i in range(50)], 2, died)) as results:
        next(results)
        time.sleep(0.5)
        assert len(list(tmp_path.iterdir())) <= AHEAD * 2
        for _ in range(9):
            next(results)
    assert 10 <= len(list(tmp_path.iterdir())) <= 10 + AHEAD * 2


def kill_itself(task):
    if task in (3, 4, 11):
        os.kill(os.getpid(), signal.SIGKILL)
    return square(task)


@pytest.mark.parametrize('workers', [1, 3])
def test_a_task_that_kills_its_process_is_known_and_the_others_are_done(workers):
    results = list(in_order(kill_itself, range(14), workers, died))
    assert results == [('died', i) if i in (3, 4, 11) else i * i for i in range(14)]


def kill_in_company(task):
    number, folder = task
    # As the system kills the largest process when several are too much for the memory
    if number == 5 and not (folder / 'killed').exists():
        (folder / 'killed').touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_task_that_can_be_done_alone_is_done(tmp_path):
    tasks = [(i, tmp_path) for i in range(12)]
    assert list(in_order(kill_in_company, tasks, 3, died)) == list(range(12))
    assert (tmp_path / 'killed').exists()


def test_processes_that_die_between_tasks_are_replaced():
    with closing(in_order(square, range(40), 2, died)) as results:
        found = [next(results) for _ in range(3)]
        time.sleep(0.3)  # they have done what was given out
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGKILL)
        found += list(results)
    assert found == [i * i for i in range(40)]


def test_what_died_may_raise():
    def stop(task):
        raise RuntimeError(f'task {task}')

    results = in_order(kill_itself, range(14), 2, stop)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(RuntimeError, match='task 3'):
        next(results)
    assert not multiprocessing.active_children()


SLEEPERS = """
import signal, sys, time
from pathlib import Path
# A job in the background of a shell ignores Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {folder!r})
from parallel import in_order  # alone: the package would take seconds to import

def sleep(task):
    (Path(sys.argv[1]) / str(task)).touch()
    time.sleep({seconds} if task > 1 else 0)
    return task

for result in in_order(sleep, range(100), 3, None):
    pass
"""


def group_is_gone(group, seconds):
    """Whether no process of a group is left after some seconds, zombies not counted."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        states = []
        for stat in Path('/proc').glob('[0-9]*/stat'):
            try:
                state, _, pgrp = stat.read_text().rpartition(')')[2].split()[:3]
            except (OSError, ValueError):
                continue
            if int(pgrp) == group and state != 'Z':
                states.append(state)
        if not states:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ('number', 'whole_group', 'seconds'),
    [
        (signal.SIGINT, True, 1),  # as Ctrl-C: what runs is waited for
        (signal.SIGINT, False, 1),
        (signal.SIGTERM, False, 60),
        (signal.SIGKILL, False, 60),
    ],
)
def test_no_process_outlives_its_parent(tmp_path, number, whole_group, seconds):
    process = subprocess.Popen(
        [sys.executable, '-c', SLEEPERS.format(folder=FOLDER, seconds=seconds), str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(list(tmp_path.iterdir())) < 5:
        assert process.poll() is None
        time.sleep(0.02)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert group_is_gone(process.pid, 10)
    if number == signal.SIGINT:
        assert errors.rstrip().endswith('KeyboardInterrupt')
        assert errors.count('Traceback') == 1  # of the parent alone
