"""A stand-in for mmcv's operators, of what torchvision has, which takes float64 as well."""

import types

import torch
import torchvision


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


STAND_IN = OperatorStandIn('mmcv._ext')
