"""The CUDA kernels without a GPU: as C++, run thread by thread, and as code for cards."""

import ctypes
import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from mmqkformer import kernels
from mmqkformer.kernels import OPTIONS
from mmqkformer.neurons.backends.cupy import CupyBackend

COMPILER = next((name for name in ('g++', 'c++', 'clang++') if shutil.which(name)), None)
KERNELS = [
    kernel
    for path in sorted(Path(kernels.__file__).parent.glob('*.cu'))
    for kernel in re.findall(r'^KERNEL (\w+)\(', path.read_text(), re.M)
]
# Removed where the process ends
FOLDER = tempfile.TemporaryDirectory()


@cache
def library(source, macros):
    """A source for a type and number of steps; no multiplication is fused with an addition."""
    file = Path(FOLDER.name) / f'{len(os.listdir(FOLDER.name))}.cpp'
    file.write_text(source)
    # Where a way is fixed, the parameter that tells it is not read
    warnings = ('-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror')
    options = ('-std=c++14', '-O1', '-ffp-contract=off', *warnings, *macros)
    command = (COMPILER, *options, '-shared', '-fPIC', '-o', file.with_suffix('.so'), file)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(file.with_suffix('.so'))


def run(kernel, macros, threads, args):
    """Runs a kernel's threads one after the other."""
    compiled = library(kernels.source(kernel), macros)
    types = {int: ctypes.c_longlong, float: ctypes.c_double}
    given = [types[type(value)](value) for value in args]
    # The last first: the order in which threads end is nobody's to rely on
    for thread in reversed(range(threads)):
        compiled.set_thread(ctypes.c_longlong(thread), ctypes.c_longlong(threads))
        compiled[kernel](*given)


class CpuLauncher(kernels.Launcher):
    """Of so few threads that each takes several neurons."""

    block = 3
    max_blocks = 5
    warp = 1

    def __init__(self):
        self.launched, self.together = [], set()
        self.fixed = False

    def reaches(self, x):
        return x.device.type == 'cpu'

    def run(self, kernel, x, options, threads, args):
        self.launched.append(kernel)
        self.together.add(int(re.search(r'-DTOGETHER=(\d+)', ' '.join(options))[1]))
        if not self.fixed:
            # One library for every neuron
            options = tuple(option for option in options if '-DNEURON_' not in option)
        run(kernel, options, threads, args)


class CpuBackend(CupyBackend):
    """The backend of the GPU on tensors of the CPU."""

    def __init__(self):
        self.launcher = CpuLauncher()


def nvrtc():
    """The library of NVIDIA's compiler, of a release that still knows sm_70; None without one."""
    try:
        files = importlib.metadata.files('nvidia-cuda-nvrtc-cu12')
    except importlib.metadata.PackageNotFoundError:
        return None
    names = (r'libnvrtc\.so\.12', r'nvrtc64_120_0\.dll')
    (path,) = (file for file in files if any(re.fullmatch(name, file.name) for name in names))
    return path.locate()


def code_for(arch, kernel, dtype, steps, together):
    """The binary code, for ``sm_<arch>``, of the file that defines a kernel."""
    lib, program, size = ctypes.CDLL(nvrtc()), ctypes.c_void_p(), ctypes.c_size_t()
    source = kernels.source(kernel).encode()
    created = lib.nvrtcCreateProgram(ctypes.byref(program), source, b'kernels.cu', 0, None, None)
    assert created == 0
    options = (*OPTIONS, f'-arch=sm_{arch}', *kernels.macros(dtype, steps, together))
    failed = lib.nvrtcCompileProgram(
        program, len(options), (ctypes.c_char_p * len(options))(*map(str.encode, options))
    )
    lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    lib.nvrtcGetProgramLog(program, log)
    lines = log.value.decode().splitlines()
    # Warnings as well, but for the one that newer releases will not know sm_70
    assert not failed, lines
    assert not [line for line in lines if line and 'Architectures prior to' not in line], lines
    lib.nvrtcGetCUBINSize(program, ctypes.byref(size))
    code = ctypes.create_string_buffer(size.value)
    lib.nvrtcGetCUBIN(program, code)
    lib.nvrtcDestroyProgram(ctypes.byref(program))
    return code.raw
