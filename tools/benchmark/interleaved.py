"""Contestants that take turns, in processes of their own or in one: what benchmarks share."""

import json
import math
import multiprocessing
import platform
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import mmcv
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmqkformer.analysis.figures import save_figure
from mmqkformer.files import written_whole

PACKAGES = ('torch', 'mmengine', 'spikingjelly')
# Called in the process of a contestant: builds it, and returns what is timed, and what tells of it
# once it has run, numbers and text by name
Make = Callable[[], tuple[Callable[[], object], Callable[[], dict]]]


@dataclass
class Times:
    """What was measured of a contestant.

    Attributes:
        seconds (list[float]): Of each round.
        first (float): Seconds of the first two calls, which compile what there is to compile.
        peak (int): Bytes: on a GPU of PyTorch's allocator, else resident, libraries included.
        facts (dict): What it says of itself.
    """

    seconds: list[float] = field(default_factory=list)
    first: float = 0.0
    peak: int = 0
    facts: dict = field(default_factory=dict)

    @property
    def middle(self) -> float:
        """Median of the seconds."""
        return median(self.seconds)

    def ratios(self, other: 'Times') -> list[float]:
        """Of each round, how many times as fast it was as another contestant."""
        return [theirs / ours for theirs, ours in zip(other.seconds, self.seconds, strict=True)]


def synchronize() -> None:
    """Waits for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _timed(step: Callable[[], object]) -> float:
    synchronize()
    start = time.perf_counter()
    step()
    synchronize()
    return time.perf_counter() - start


def _serve(connection: Connection, make: Make) -> None:
    cuda = torch.cuda.is_available()
    step, facts = make()
    seconds = _timed(step) + _timed(step)
    while True:
        if cuda:
            # The GPU is the others' now, whose activations would not fit beside these
            torch.cuda.empty_cache()
        connection.send(seconds)
        if not connection.recv():
            break
        if cuda:
            step()  # which gets its memory back
        seconds = _timed(step)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak = torch.cuda.max_memory_allocated() if cuda else resident
    # Last: what it takes to tell is no part of the peak
    connection.send((peak, facts()))


def race(contestants: dict[str, Make], rounds: int, description: str) -> dict[str, Times]:
    """Runs contestants in turns, so that what disturbs the machine disturbs all of them.

    Args:
        contestants (dict[str, Make]): By name, what builds them; functions of a module.
        rounds (int): How often each is timed.
        description (str): What the progress bar says.

    Returns:
        dict[str, Times]: What was measured, by name.
    """
    context = multiprocessing.get_context('spawn')
    connections, times = {}, {name: Times() for name in contestants}
    for name, make in contestants.items():
        connections[name], theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs, make), daemon=True).start()
        theirs.close()
        times[name].first = connections[name].recv()
    for turn in track(range(rounds), description=description):
        # Who comes first changes: the second may find warmer caches, or a hotter processor
        for name in list(contestants)[:: -1 if turn % 2 else 1]:
            connections[name].send(True)
            times[name].seconds.append(connections[name].recv())
    for name, connection in connections.items():
        connection.send(False)
        times[name].peak, times[name].facts = connection.recv()
    return times


def take_turns(
    calls: dict[str, Callable[[], object]], rounds: int, description: str, least: float = 0.0
) -> dict[str, Times]:
    """Times short calls of this process in turns: what has no memory of its own to measure.

    Args:
        calls (dict[str, Callable[[], object]]): What is timed, by name.
        rounds (int): How often each is timed.
        description (str): What the progress bar says.
        least (float): Seconds for which a call is repeated within a round, of which the mean is
            taken. Defaults to 0, once.

    Returns:
        dict[str, Times]: What was measured, without peaks, by name.
    """
    times, repeats = {name: Times() for name in calls}, {}
    for name, call in calls.items():
        start = _timed(call)
        warm = _timed(call)
        times[name].first = start + warm
        repeats[name] = max(1, math.ceil(least / warm))

    def repeated(name: str) -> None:
        for _ in range(repeats[name]):
            calls[name]()

    for turn in track(range(rounds), description=description):
        for name in list(calls)[:: -1 if turn % 2 else 1]:
            times[name].seconds.append(_timed(partial(repeated, name)) / repeats[name])
    return times


def versions() -> dict[str, str]:
    """Of Python and of the packages that figures depend on."""
    # mmcv is installed under one of two names
    named = {name: version(name) for name in PACKAGES}
    return {**named, 'mmcv': mmcv.__version__, 'python': platform.python_version()}


def write(json_file: Path | None, title: str, results: object, device: str | None = None) -> None:
    """Writes what was measured, with the device and the versions; nothing without a file.

    Args:
        json_file (Path | None): File to write to, if any.
        title (str): What was run.
        results (object): What was measured.
        device (str | None): What it ran on. Defaults to None, :func:`device_name`.
    """
    if json_file is None:
        return
    device = device_name() if device is None else device
    result = dict(title=title, device=device, versions=versions(), results=results)
    with written_whole(json_file) as partial_file:
        partial_file.write_text(json.dumps(result, indent=2))


def device_name() -> str:
    """The GPU, or the number of CPU threads."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return cpu_name()


def cpu_name() -> str:
    """The number of CPU threads, of what runs on the CPU beside a GPU too."""
    return f'{torch.get_num_threads()} CPU threads, {torch.backends.cpu.get_cpu_capability()}'


def draw(title: str, results: dict[str, Times], path: Path) -> None:
    """Draws the median of each contestant, with its least and most."""
    figure = Figure(figsize=(7, 1 + 0.4 * len(results)), layout='constrained')
    axes = figure.subplots()
    middles = [1000 * times.middle for times in results.values()]
    spreads = [
        [middle - 1000 * min(times.seconds), 1000 * max(times.seconds) - middle]
        for middle, times in zip(middles, results.values())
    ]
    axes.barh(list(results), middles, xerr=list(zip(*spreads)), capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel('ms')
    axes.set_title(f'{title}\n{device_name()}, torch {torch.__version__}', fontsize='small')
    save_figure(figure, path)


def report(
    title: str, results: dict[str, Times], against: Sequence[str], json_file: Path | None
) -> None:
    """Prints a table with a row for each contestant, and writes all that was measured.

    Args:
        title (str): What was run.
        results (dict[str, Times]): What :func:`race` measured.
        against (Sequence[str]): Contestants that each is compared with.
        json_file (Path | None): File to write to, if any.
    """
    table = Table(title=f'{title}; {device_name()}, torch {torch.__version__}')
    table.add_column('')
    compared = [column for name in against for column in (f'x {name}', 'spread')]
    facts = sorted({key for times in results.values() for key in times.facts})
    for column in ('ms', *compared, 'peak, MiB', 'first two, s', *facts):
        table.add_column(column, justify='right')
    for name, times in results.items():
        cells = [f'{1000 * times.middle:.1f}']
        for other in against:
            ratios = times.ratios(results[other])
            cells += [f'{median(ratios):.2f}', f'{min(ratios):.2f} to {max(ratios):.2f}']
        cells += [f'{times.peak / 2**20:.0f}', f'{times.first:.1f}']
        table.add_row(name, *cells, *(str(times.facts.get(key, '-')) for key in facts))
    Console(width=160).print(table)
    write(json_file, title, {name: asdict(times) for name, times in results.items()})
