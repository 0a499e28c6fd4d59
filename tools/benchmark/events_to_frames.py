"""Compare this package's integration of events to frames with SpikingJelly's, in one run.

Speed is the median over repetitions; memory is the peak that NumPy allocates during one call, as
Python's tracemalloc counts it, inputs not included.
"""

import argparse
import json
import platform
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from spikingjelly.datasets.utils import integrate_events_by_fixed_frames_number

from mmqkformer.checks import at_least
from mmqkformer.datasets.events import Events
from mmqkformer.datasets.events.frames import events_to_frames
from mmqkformer.files import write_atomically


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--events', type=at_least(1), default=10**6, help='number of events')
    parser.add_argument('--time-steps', type=at_least(1), default=16, help='frames')
    parser.add_argument(
        '--size', type=at_least(1), default=128, help='pixels of a side of the sensor'
    )
    parser.add_argument('--repeats', type=at_least(1), default=15)
    parser.add_argument('--json', help='file to write the figures to')
    return parser.parse_args()


def recording(count: int, size: int) -> Events:
    """Random events in the integers that SpikingJelly's readers give."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 5_000_000, count))
    x, y = rng.integers(0, size, (2, count))
    return Events(t, x, y, rng.integers(0, 2, count), (size, size))


def stored(events: Events) -> Events:
    """The same in the columns of a store."""
    columns = events.t.astype('<u4'), events.x.astype('<u2'), events.y.astype('<u2')
    return Events(*columns, events.p.astype('u1'), events.sensor_size)


def measure(calls: dict[str, Callable], repeats: int) -> dict[str, tuple[float, float]]:
    """Median seconds and peak megabytes of each call; the calls take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begin)
    peaks = {}
    for name, call in calls.items():
        tracemalloc.start()
        call()
        peaks[name] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    return {name: (float(np.median(seconds[name])), peaks[name]) for name in calls}


def main() -> None:
    args = parse_args()
    events = recording(args.events, args.size)
    columns = {name: getattr(events, name) for name in 'txyp'}
    small = stored(events)
    results = []
    for split_by in track(('number', 'time'), description='split by'):
        calls = {
            'SpikingJelly': lambda by=split_by: integrate_events_by_fixed_frames_number(
                columns, by, args.time_steps, args.size, args.size
            ),
            'mmqkformer': lambda by=split_by: events_to_frames(events, args.time_steps, by),
            'mmqkformer, from a store': lambda by=split_by: events_to_frames(
                small, args.time_steps, by
            ),
        }
        frames = [call() for call in calls.values()]
        if any(not np.array_equal(frames[0], other) for other in frames[1:]):
            raise SystemExit(f'the frames differ, split by {split_by}')
        figures = measure(calls, args.repeats)
        peer = figures['SpikingJelly'][0]
        for name, (seconds, peak) in figures.items():
            results.append(
                dict(
                    split_by=split_by,
                    by=name,
                    events_per_second=args.events / seconds,
                    ratio=peer / seconds,
                    peak_mb=peak,
                )
            )
    title = (
        f'{args.events:,} events, {args.time_steps} frames of {args.size} x {args.size}; '
        f'{platform.processor() or platform.machine()}, NumPy {np.__version__}'
    )
    table = Table('split by', 'integration', 'M events / s', 'ratio', 'peak MB', title=title)
    for row in results:
        table.add_row(
            row['split_by'],
            row['by'],
            f'{row["events_per_second"] / 1e6:.0f}',
            f'{row["ratio"]:.2f}',
            f'{row["peak_mb"]:.1f}',
        )
    Console(width=110).print(table)
    if args.json:
        write_atomically(json.dumps(results, indent=1).encode(), Path(args.json))


if __name__ == '__main__':
    main()
