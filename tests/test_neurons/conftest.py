"""The CUDA kernels as a backend of the neurons that runs on the CPU."""

import pytest
from cuda_on_cpu import COMPILER, CpuBackend

from mmqkformer.neurons.backends.registry import _BACKENDS


@pytest.fixture
def backend():
    """Under the name ``cpu``, as long as a test runs."""
    if COMPILER is None:
        pytest.skip('there is no C++ compiler')
    _BACKENDS['cpu'] = CpuBackend()
    yield _BACKENDS['cpu']
    del _BACKENDS['cpu']
