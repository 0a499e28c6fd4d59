"""Time this code's inference against that of another commit, in interleaved pairs.

Each of the two runs in a process of its own on the same weights and images. They take turns, so
that what disturbs the machine disturbs both; and they are started anew for every second pair, for
where a process happens to lie in memory alone moves its times by several percent. Printed are the
median of the ratios of the pairs (above 1: this code is faster) with their spread, milliseconds a
batch, and peak memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmqkformer.checks import at_least

ROOT = Path(__file__).parents[2]
# Runs in either version of the package; answers each line on stdin with seconds
WORKER = """
import resource, sys, time, torch
import mmqkformer
from mmengine.registry import MODELS
arch, batch, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0)
model = MODELS.build(dict(type='QKFormer', arch=arch)).eval()
images = torch.randn(batch, 3, size, size)
with torch.inference_mode():
    for _ in range(2):
        model(images)
    print(mmqkformer.__path__[0], flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        model(images)
        seconds = time.perf_counter() - start
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
"""


class Worker:
    """A process with one version of the package."""

    def __init__(self, tree: Path, arguments: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-c', WORKER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tree,
            env={**os.environ, 'PYTHONPATH': str(tree)},
        )
        package = self.process.stdout.readline().strip()
        if Path(package).parent != tree:
            raise SystemExit(f'{tree}: the process runs {package or "into an error, see above"}')
        self.memory = 0

    def seconds(self) -> float:
        """Time of one batch."""
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        seconds, self.memory = map(float, self.process.stdout.readline().split())
        return seconds

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--against', default='HEAD~1', help='commit to compare with')
    parser.add_argument('--arch', default='hst-10-384', help="architecture of 'QKFormer'")
    parser.add_argument('--batch', type=at_least(1), nargs='+', default=[1, 8])
    parser.add_argument('--size', type=at_least(32), default=224, help='pixels of a side')
    parser.add_argument('--pairs', type=at_least(1), default=10)
    return parser.parse_args()


def compare(trees: tuple[Path, Path], arguments: list[str], pairs: int) -> list[str]:
    """One row: median ratio, spread, milliseconds and memory of both."""
    times, memory = [], [0.0, 0.0]
    for start in track(range(0, pairs, 2), description=f'batch {arguments[1]}'):
        # Who comes first changes: the second may find warmer caches, or a hotter processor
        order = (0, 1) if start % 4 else (1, 0)
        workers = {version: Worker(trees[version], arguments) for version in order}
        for versions in (order, order[::-1])[: pairs - start]:
            took = {version: workers[version].seconds() for version in versions}
            times.append((took[0], took[1]))
        for version, worker in workers.items():
            memory[version] = max(memory[version], worker.memory)
            worker.close()
    ratios = [before / now for now, before in times]
    return [
        arguments[1],
        f'{median(ratios):.3f}',
        f'{min(ratios):.3f} to {max(ratios):.3f}',
        *(f'{1000 * median(seconds):.0f}' for seconds in zip(*times)),
        *(f'{peak / 1024:.0f}' for peak in memory),
    ]


def main() -> None:
    args = parse_args()
    table = Table(title=f'{args.arch}, {args.size} px, {args.pairs} pairs against {args.against}')
    for column in ('batch', 'ratio', 'spread', 'ms', 'ms before', 'MiB', 'MiB before'):
        table.add_column(column, justify='right')
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder).resolve()
        commit = ['git', '-C', str(ROOT), 'archive', args.against, 'mmqkformer']
        archive = subprocess.run(commit, check=True, capture_output=True).stdout
        subprocess.run(['tar', '-x', '-C', str(old)], input=archive, check=True)
        for batch in args.batch:
            arguments = [args.arch, str(batch), str(args.size)]
            table.add_row(*compare((ROOT, old), arguments, args.pairs))
    Console().print(table)


if __name__ == '__main__':
    main()
