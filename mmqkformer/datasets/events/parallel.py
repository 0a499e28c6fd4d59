"""Several files at a time."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import parent_process

AHEAD = 2  # tasks of a worker that are given out before their results are asked for


def in_order(
    function: Callable, tasks: Sequence, workers: int, died: Callable[[object], object]
) -> Iterator:
    """Calls a function for every task, in ``workers`` processes.

    At most ``AHEAD`` results of each worker wait for their turn. When a process dies, killed by
    the system for its memory, say, the tasks that were given out are done again one at a time,
    each in a process of its own, so that one that kills its process is known; then the others go
    on together.

    Args:
        function (Callable): Function of a task; both can be pickled.
        tasks (Sequence): The tasks.
        workers (int): Processes.
        died (Callable): Function of a task whose process died although it was alone; gives the
            result in its place, or raises.

    Yields:
        The results, in the order of the tasks.
    """
    left = deque(tasks)
    while left:
        for _ in range((yield from _together(function, left, workers))):
            yield _alone(function, left.popleft(), died)


def _together(function: Callable, left: deque, workers: int) -> Generator[object, None, int]:
    """Takes tasks from ``left`` as it yields their results.

    Returns:
        int: How many were given out when a process died.
    """
    pool = _processes(min(workers, len(left)))
    given: deque[Future] = deque()
    try:
        while left:
            for task in list(islice(left, len(given), AHEAD * workers)):
                given.append(pool.submit(function, task))
            result = given[0].result()
            given.popleft()
            left.popleft()
            yield result
    except BrokenProcessPool:
        return len(given)
    finally:
        pool.shutdown(cancel_futures=True)
    return 0


def _alone(function: Callable, task: object, died: Callable) -> object:
    with _processes(1) as pool:
        try:
            return pool.submit(function, task).result()
        except BrokenProcessPool:
            return died(task)


def _processes(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, initializer=_begin)


def _begin() -> None:
    """An interrupt is the parent's to handle, and no process outlives a parent that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent_process().join()
    os._exit(1)
