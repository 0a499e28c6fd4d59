"""CIFAR-10 and CIFAR-100 as BGR images, from files that are the originals."""

from urllib.error import URLError

import numpy as np
from mmengine.fileio import exists, join_path
from mmengine.registry import DATASETS
from mmpretrain.datasets import CIFAR10, CIFAR100
from mmpretrain.datasets.utils import calculate_md5

from ..checks import check_bool


class _BGR:
    """Turns mmpretrain's RGB images round, and downloads only if asked to.

    The files hold RGB. Pipelines expect BGR: colour operations weigh the channels so, and an image
    file that mmpretrain's inferencer decodes for the same pipeline arrives so.
    """

    def __init__(self, *, download: bool = False, **kwargs) -> None:
        super().__init__(download=check_bool('dataset.download', download), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Reads the images, 32 x 32 x 3 uint8 in the order blue, green, red.

        The files are pickles: none is opened whose checksum is not the original's.

        Returns:
            list[dict]: ``img`` and ``gt_label`` of each image.

        Raises:
            FileNotFoundError: A file is missing and ``download`` is not set.
            ValueError: A file has another checksum and ``download`` is not set.
            ConnectionError: ``download`` is set, and the archive cannot be downloaded.
        """
        try:
            data_list = super().load_data_list()
        except URLError as error:
            raise ConnectionError(
                f'dataset.download=True: {self.url} cannot be downloaded ({error}); unpack it in '
                f'{self.data_prefix["root"]} by hand'
            ) from None
        for info in data_list:
            info['img'] = np.ascontiguousarray(info['img'][..., ::-1])
        return data_list

    def _check_integrity(self) -> bool:
        """Whether all files are the originals; without ``download``, names the one that is not."""
        for name, expected in self.train_list + self.test_list:
            path = join_path(self.data_prefix['root'], self.base_folder, name)
            remedy = f'copy the original there, or set dataset.download=True, to fetch {self.url}'
            if not exists(path):
                if self.download:
                    return False
                raise FileNotFoundError(f'{path} does not exist: {remedy}')
            if (found := calculate_md5(path)) != expected:
                if self.download:
                    return False
                raise ValueError(
                    f'{path}: its md5 checksum is {found}, expected {expected}; the file is '
                    f'damaged or another: {remedy}'
                )
        return True


@DATASETS.register_module()
class BGRCIFAR10(_BGR, CIFAR10):
    """mmpretrain's ``CIFAR10`` with BGR images; same arguments, ``download`` off by default."""


@DATASETS.register_module()
class BGRCIFAR100(_BGR, CIFAR100):
    """mmpretrain's ``CIFAR100`` with BGR images; same arguments, ``download`` off by default."""
