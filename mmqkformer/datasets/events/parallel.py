"""Several files at a time."""

from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pool


def in_order(function: Callable, tasks: Sequence, workers: int) -> Iterator:
    """Calls a function for every task, in ``workers`` processes (1: in this one).

    Args:
        function (Callable): Function of a task; both can be pickled.
        tasks (Sequence): The tasks.
        workers (int): Processes.

    Yields:
        The results, in the order of the tasks.
    """
    if workers <= 1:
        yield from map(function, tasks)
        return
    with Pool(workers) as pool:
        yield from pool.imap(function, tasks)
