"""For all tests: no default scope that outlives a test, and a stand-in for mmcv's operators."""

import importlib.machinery
import importlib.util
import os
import sys

import pytest
import torch
from mmcv_operators import STAND_IN
from mmengine.registry import DefaultScope

if 'PYTEST_XDIST_WORKER' in os.environ:
    # The processes of the tests share the cores, and so do those that tests start
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    torch.set_num_threads(1)


if importlib.util.find_spec('mmcv._ext') is None:
    STAND_IN.__spec__ = importlib.machinery.ModuleSpec('mmcv._ext', loader=None)
    sys.modules['mmcv._ext'] = STAND_IN


@pytest.fixture(autouse=True)
def scope_of_its_own():
    """A runner leaves its default scope behind, in which later tests would look up names."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)
