"""CIFAR-10 and CIFAR-100 with images as every other data set of OpenMMLab gives them: BGR."""

import numpy as np
from mmengine.registry import DATASETS
from mmpretrain.datasets import CIFAR10, CIFAR100


class _BGR:
    """Turns mmpretrain's RGB images round.

    The files hold RGB. Pipelines expect BGR: colour operations weigh the channels so, and an image
    file that mmpretrain's inferencer decodes for the same pipeline arrives so.
    """

    def load_data_list(self) -> list[dict]:
        """Reads the images, 32 x 32 x 3 uint8 in the order blue, green, red."""
        data_list = super().load_data_list()
        for info in data_list:
            info['img'] = np.ascontiguousarray(info['img'][..., ::-1])
        return data_list


@DATASETS.register_module()
class BGRCIFAR10(_BGR, CIFAR10):
    """mmpretrain's ``CIFAR10`` with BGR images; same arguments."""


@DATASETS.register_module()
class BGRCIFAR100(_BGR, CIFAR100):
    """mmpretrain's ``CIFAR100`` with BGR images; same arguments."""
