"""Random erasing of the mixed, normalised batch."""

import copy

import torch
from mmengine.registry import MODELS
from mmpretrain.models import ClsDataPreprocessor

from ...checks import check_dict

_NOTHING = (0, 0, 0, 0)


@MODELS.register_module()
class ErasingDataPreprocessor(ClsDataPreprocessor):
    """mmpretrain's preprocessor, which then erases what the samples' ``erased_box`` say.

    Of images ``[C, H, W]`` it makes a batch ``[B, C, H, W]``.

    The rectangles, drawn by ``DrawErasing``, become 0, i.e. the mean of the data set, after the
    normalisation and the batch augmentations: an image mixed of two loses one full rectangle, the
    one drawn for the sample in its place. Labels stay as they are. ``SwitchRecipeHook`` ends
    the batch augmentations and leaves the erasing.

    Args:
        batch_augments (dict | None): See mmpretrain's ``RandomBatchAugment``. Defaults to None.
        **kwargs: Further arguments of mmpretrain's ``ClsDataPreprocessor``.

    Raises:
        ValueError: ``batch_augments`` is no dict.
    """

    def __init__(self, batch_augments: dict | None = None, **kwargs) -> None:
        if batch_augments is not None:
            check_dict('data_preprocessor.batch_augments', batch_augments)
        # mmpretrain's augmentation appends to its config, which is dumped and built again
        super().__init__(batch_augments=copy.deepcopy(batch_augments), **kwargs)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepares the batch and, in training, erases.

        Args:
            data (dict): ``inputs``, B images ``[C, H, W]``, and ``data_samples`` (or None).
            training (bool): Whether batch augmentations and erasing apply. Defaults to False.

        Returns:
            dict: ``inputs`` ``[B, C, H, W]``, float32, and ``data_samples``.
        """
        data = super().forward(data, training)
        if training and data['data_samples'] is not None:
            boxes = [sample.get('erased_box', _NOTHING) for sample in data['data_samples']]
            data['inputs'] = _erase(data['inputs'], torch.tensor(boxes))
        return data


def _erase(images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Images ``[B, C, H, W]`` with 0 in the boxes ``[B, 4]``: top, left, height, width."""
    top, left, height, width = boxes.to(images.device).unbind(1)
    rows = _between(top, height, images.shape[2])
    columns = _between(left, width, images.shape[3])
    return images.masked_fill((rows[:, :, None] & columns[:, None])[:, None], 0)


def _between(start: torch.Tensor, length: torch.Tensor, size: int) -> torch.Tensor:
    """Which of ``size`` positions are in the B intervals, ``[B, size]``."""
    positions = torch.arange(size, device=start.device)
    return (positions >= start[:, None]) & (positions < (start + length)[:, None])
