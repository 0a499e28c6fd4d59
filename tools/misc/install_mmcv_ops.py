"""Install mmcv with its compiled operators, which mmdet and mmsegmentation import.

No wheel of them exists for today's torch: they are built from source once, some 12 to 20 minutes
on two cores, into a wheel cache keyed by the versions of torch, Python and CUDA; later they are
installed in seconds. mmcv-lite, which lies in the same folder, is uninstalled. The CUDA operators
are built where a GPU is visible, or with FORCE_CUDA=1.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from tqdm import tqdm

VERSION = '2.1.0'  # mmdet 3.3 and mmsegmentation 1.2 refuse 2.2
BUILD_TOOLS = ['setuptools<82', 'wheel', 'ninja', 'psutil']
CHECK = (
    'import torch, mmcv, mmcv.ops\n'
    'boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]])\n'
    'kept = mmcv.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)[1]\n'
    'assert kept.tolist() == [0, 2], kept\n'
    "print('mmcv', mmcv.__version__)"
)
SHOWN_LINES = 25


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--cache',
        type=Path,
        default=Path(os.environ.get('MMCV_WHEELS', '~/.cache/mmqkformer/wheels')).expanduser(),
        help='folder of the wheels; by default $MMCV_WHEELS or ~/.cache/mmqkformer/wheels',
    )
    parser.add_argument(
        '--jobs', type=int, default=os.cpu_count(), help='files compiled at a time, 2 GB each'
    )
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error(f'--jobs {args.jobs}: expected at least 1')
    return args


def wheel_folder(cache: Path) -> Path:
    """Where wheels for this torch, Python and CUDA lie; pip's cache does not tell them apart."""
    python = f'cp{sys.version_info.major}{sys.version_info.minor}'
    device = f'cuda{torch.version.cuda}' if builds_cuda() else 'cpu'
    return (
        cache / f'mmcv-{VERSION}-torch-{torch.__version__}-{python}-{platform.machine()}-{device}'
    )


def builds_cuda() -> bool:
    """mmcv's own condition for building the CUDA operators."""
    return torch.cuda.is_available() or os.environ.get('FORCE_CUDA') == '1'


def pip(*args: str) -> None:
    subprocess.run([sys.executable, '-m', 'pip', *args], check=True)


def operators_work(path: Path | None = None) -> bool:
    """Whether mmcv's operators run, in a process of their own; ``path`` is searched first."""
    env = dict(os.environ, **({'PYTHONPATH': str(path)} if path else {}))
    command = [sys.executable, '-c', CHECK]
    return subprocess.run(command, env=env, capture_output=True).returncode == 0


def build(folder: Path, jobs: int) -> None:
    """Build a wheel, try it, and put it into the cache; what fails leaves only its log there."""
    if shutil.which('g++') is None and not os.environ.get('CXX'):
        raise SystemExit('no C++ compiler: install g++, or name yours in CXX')
    print(f'building mmcv {VERSION} with operators for torch {torch.__version__}, once:')
    print('some 12 to 20 minutes on two cores; later installations take it from', folder)
    pip('install', '--quiet', *BUILD_TOOLS)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / 'build.log'
    env = dict(os.environ, MMCV_WITH_OPS='1', MAX_JOBS=str(jobs))
    with tempfile.TemporaryDirectory(dir=folder, prefix='.building-') as partial:
        command = [sys.executable, '-m', 'pip', 'wheel', '--verbose', '--no-cache-dir', '--no-deps']
        command += ['--no-build-isolation', '--wheel-dir', partial, f'mmcv=={VERSION}']
        with subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            follow(process, log)
        if process.returncode:
            lines = ''.join(log.read_text().splitlines(keepends=True)[-SHOWN_LINES:])
            raise SystemExit(f'{lines}\nmmcv could not be built; the whole log: {log}')
        (wheel,) = Path(partial).glob('mmcv-*.whl')
        tried = Path(partial) / 'tried'
        pip('install', '--quiet', '--no-deps', '--target', str(tried), str(wheel))
        if not operators_work(tried):
            raise SystemExit(f'mmcv was built, but its operators do not run; the log: {log}')
        os.replace(wheel, folder / wheel.name)


def follow(process: subprocess.Popen, log: Path) -> None:
    """Write the output to a log and show ninja's counts, ``[12/105]``, as a bar."""
    with open(log, 'w') as file, tqdm(desc='compiling', unit='file') as bar:
        for line in process.stdout:
            file.write(line)
            if found := re.search(r'\[(\d+)/(\d+)\]', line):
                bar.total = int(found[2])
                bar.update(int(found[1]) - bar.n)


def main() -> None:
    args = parse_args()
    if operators_work():
        print('mmcv has its operators already')
        return
    folder = wheel_folder(args.cache)
    started = time.monotonic()
    if not list(folder.glob('mmcv-*.whl')):
        build(folder, args.jobs)
        print(f'built in {(time.monotonic() - started) / 60:.1f} minutes')
    (wheel,) = folder.glob('mmcv-*.whl')
    pip('uninstall', '--yes', 'mmcv-lite', 'mmcv')
    pip('install', '--no-deps', str(wheel))
    if not operators_work():
        raise SystemExit(f'the operators of {wheel} do not run: remove the file to build it anew')
    print('mmcv has its operators')


if __name__ == '__main__':
    main()
