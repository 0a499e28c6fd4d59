"""From the frames of single recordings to a batch."""

import copy
from collections.abc import Sequence

import torch
from mmengine.registry import MODELS
from mmpretrain.models import ClsDataPreprocessor

from ...checks import check_bool, check_dict, check_int


@MODELS.register_module()
class EventDataPreprocessor(ClsDataPreprocessor):
    """Stacks event frames ``[T, 2, H, W]`` into a batch ``[B, T, 2, H, W]``.

    Counts of events are neither normalised nor padded, and polarities are no colours. The rest is
    mmpretrain's: labels, and batch augmentations such as mixup, which ``SwitchRecipeHook`` ends.

    Args:
        num_classes (int | None): Classes, for one-hot labels. Defaults to None.
        to_onehot (bool): Whether labels become one-hot scores; mixup needs them and asks for them
            itself. Defaults to False.
        batch_augments (dict | None): See mmpretrain's ``RandomBatchAugment``. Defaults to None.
        to_rgb (bool): Has to be False.
        add_sum (bool): Whether frames get a third channel, the sum of both polarities, as networks
            for images take three. Defaults to False.

    Attributes:
        polarities (int): Channels of the frames that come in.

    Raises:
        ValueError: ``to_rgb`` is set.
    """

    polarities = 2

    def __init__(
        self,
        num_classes: int | None = None,
        to_onehot: bool = False,
        batch_augments: dict | None = None,
        to_rgb: bool = False,
        add_sum: bool = False,
    ) -> None:
        if check_bool('data_preprocessor.to_rgb', to_rgb):
            raise ValueError(
                f'data_preprocessor.to_rgb={to_rgb!r}: expected False, the two channels of event '
                'frames are polarities'
            )
        check_bool('data_preprocessor.add_sum', add_sum)
        if num_classes is not None:
            check_int('data_preprocessor.num_classes', num_classes, 1)
        if batch_augments is not None:
            check_dict('data_preprocessor.batch_augments', batch_augments)
        super().__init__(
            num_classes=num_classes,
            to_onehot=check_bool('data_preprocessor.to_onehot', to_onehot),
            # A copy: mmpretrain's augmentation appends to its config, which is built again
            batch_augments=copy.deepcopy(batch_augments),
        )
        self.add_sum = add_sum

    def forward(self, data: dict, training: bool = False) -> dict:
        """Stacks and, in training, augments.

        Args:
            data (dict): ``inputs``, B tensors ``[T, 2, H, W]`` (or one stacked), and
                ``data_samples``.
            training (bool): Whether batch augmentations apply. Defaults to False.

        Returns:
            dict: ``inputs`` ``[B, T, 2, H, W]`` (with ``add_sum`` 3 channels), float32, and
            ``data_samples``.

        Raises:
            ValueError: The inputs have other axes, or not all the same shape.
        """
        data = dict(data, inputs=_stacked(data['inputs']))
        data = super().forward(data, training)
        if self.add_sum:
            frames = data['inputs']
            data['inputs'] = torch.cat([frames, frames.sum(2, keepdim=True)], dim=2)
        return data


def _stacked(inputs: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
    shapes = sorted({tuple(x.shape) for x in inputs})
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 2:
        raise ValueError(
            f'inputs of shapes {[list(shape) for shape in shapes]}: expected frames '
            '[T, 2, H, W], alike for all samples of a batch (EventsToFrames.time_steps and .size)'
        )
    return inputs if isinstance(inputs, torch.Tensor) else torch.stack(list(inputs))
