"""scikit-learn's handwritten digits: 1,797 real 8 x 8 images that need no download."""

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from ..checks import check_str

_SPLITS = ('train', 'val', 'test')


@DATASETS.register_module()
class Digits(BaseDataset):
    """Handwritten digits (UCI optical recognition, its test set, as scikit-learn ships it).

    The split is fixed and stratified: 1,257 images train, 180 validate, 360 test. Each sample has
    ``img``, an 8 x 8 x 3 uint8 array (grey, so that image pipelines apply), and ``gt_label``.

    Args:
        split (str): ``train``, ``val`` or ``test``.
        **kwargs: Arguments of mmengine's ``BaseDataset``.

    Raises:
        ValueError: Unknown split.
        ImportError: scikit-learn is not installed.
    """

    METAINFO = {'classes': tuple(str(digit) for digit in range(10))}  # noqa: RUF012

    def __init__(self, split: str, **kwargs) -> None:
        self.split = check_str('dataset.split', split, _SPLITS)
        super().__init__(ann_file='', **{'test_mode': split != 'train', **kwargs})

    def load_data_list(self) -> list[dict]:
        """Reads the images of the split."""
        try:
            from sklearn.datasets import load_digits
            from sklearn.model_selection import train_test_split
        except ImportError as error:
            raise ImportError('Digits needs scikit-learn: pip install scikit-learn') from error
        images, labels = load_digits(return_X_y=True)
        rest, test = train_test_split(
            np.arange(len(labels)), test_size=360, stratify=labels, random_state=0
        )
        train, val = train_test_split(rest, test_size=180, stratify=labels[rest], random_state=0)
        indices = {'train': train, 'val': val, 'test': test}[self.split]
        # Grey levels 0 to 16 -> 0 to 255
        images = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
        return [{'img': images[i].repeat(3, axis=2), 'gt_label': int(labels[i])} for i in indices]

    def get_data_info(self, idx: int) -> dict:
        """Adds the shapes that mmcv's transforms expect of a loaded image."""
        info = super().get_data_info(idx)
        info['img_shape'] = info['ori_shape'] = info['img'].shape[:2]
        return info
