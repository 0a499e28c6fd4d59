"""For all tests: no default scope that outlives a test, and a stand-in for mmcv's operators."""

import importlib.machinery
import importlib.util
import os
import sys
import types

import pytest
import torch
import torchvision
from mmengine.registry import DefaultScope

if 'PYTEST_XDIST_WORKER' in os.environ:
    # The processes of the tests share the cores, and so do those that tests start
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    torch.set_num_threads(1)


def nms(bboxes, scores, iou_threshold, offset):
    assert offset == 0, 'the stand-in of mmcv._ext knows offset=0 only'
    return torchvision.ops.nms(bboxes, scores, iou_threshold)


def roi_align_forward(
    input,
    rois,
    output,
    argmax_y,
    argmax_x,
    aligned_height,
    aligned_width,
    spatial_scale,
    sampling_ratio,
    pool_mode,
    aligned,
):
    assert pool_mode == 1, "the stand-in of mmcv._ext knows pool_mode='avg' only"
    pooled = torchvision.ops.roi_align(
        input, rois, (aligned_height, aligned_width), spatial_scale, sampling_ratio, aligned
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output,
    rois,
    argmax_y,
    argmax_x,
    grad_input,
    aligned_height,
    aligned_width,
    spatial_scale,
    sampling_ratio,
    pool_mode,
    aligned,
):
    grad = torch.ops.torchvision._roi_align_backward(
        grad_output,
        rois,
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )
    grad_input.copy_(grad)


class OperatorStandIn(types.ModuleType):
    """``mmcv._ext`` with what torchvision has; every other operator raises when called."""

    nms = staticmethod(nms)
    roi_align_forward = staticmethod(roi_align_forward)
    roi_align_backward = staticmethod(roi_align_backward)

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise RuntimeError(f'mmcv._ext.{name} needs mmcv built with its operators')

        return missing


if importlib.util.find_spec('mmcv._ext') is None:
    stand_in = OperatorStandIn('mmcv._ext')
    stand_in.__spec__ = importlib.machinery.ModuleSpec('mmcv._ext', loader=None)
    sys.modules['mmcv._ext'] = stand_in


@pytest.fixture(autouse=True)
def scope_of_its_own():
    """A runner leaves its default scope behind, in which later tests would look up names."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)
