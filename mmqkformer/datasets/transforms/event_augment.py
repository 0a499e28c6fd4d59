"""Augmentation of event frames: one draw a sample, the same for all its frames."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from torchvision.transforms.v2 import functional as F

from ...checks import check_int, check_list, check_number, check_str

_BINS = 31  # strengths, evenly from minus to plus the largest


@TRANSFORMS.register_module()
class EventFlip(BaseTransform):
    """Mirrors all frames of a sample.

    Args:
        prob (float): How often. Defaults to 0.5.
        direction (str): ``horizontal`` or ``vertical``. Defaults to ``horizontal``.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, prob: float = 0.5, direction: str = 'horizontal') -> None:
        self.prob = check_number('EventFlip.prob', prob, low=0, high=1)
        check_str('EventFlip.direction', direction, ('horizontal', 'vertical'))
        self.axis = -1 if direction == 'horizontal' else -2

    def transform(self, results: dict) -> dict:
        """Changes ``frames``."""
        if np.random.random() < self.prob:
            results['frames'] = np.ascontiguousarray(np.flip(results['frames'], self.axis))
        return results


@TRANSFORMS.register_module()
class EventRoll(BaseTransform):
    """Moves all frames of a sample; what leaves at one side comes in at the other.

    Args:
        shift (int): Largest move along each axis, in pixels. Defaults to 5.

    Raises:
        ValueError: It is negative.
    """

    def __init__(self, shift: int = 5) -> None:
        self.shift = check_int('EventRoll.shift', shift, 0)

    def transform(self, results: dict) -> dict:
        """Changes ``frames``."""
        moves = np.random.randint(-self.shift, self.shift + 1, 2)
        results['frames'] = np.roll(results['frames'], moves, (-2, -1))
        return results


@TRANSFORMS.register_module()
class EventAugment(BaseTransform):
    """The public release's policy for event frames.

    One of six operations is drawn for each sample: none, shear in x, translation in x, translation
    in y, rotation, cutout. Its strength is one of 31 evenly spaced values between minus and plus
    the largest. Pixels are moved by their nearest neighbour, translations cut to whole ones; what
    comes in from outside is 0. Cutout draws its area instead, evenly, and empties a square.

    Args:
        shear (float): Largest angle of the shear in radians. Defaults to 0.3.
        translate (float): Largest translation in pixels. Defaults to 5.
        rotate (float): Largest angle in degrees. Defaults to 30.0.
        cutout (tuple[float, float]): Least and largest share of the area that is emptied. Defaults
            to (0.001, 0.11).

    Raises:
        ValueError: An argument is out of range.
    """

    OPERATIONS = ('identity', 'shear_x', 'translate_x', 'translate_y', 'rotate', 'cutout')

    def __init__(
        self,
        shear: float = 0.3,
        translate: float = 5.0,
        rotate: float = 30.0,
        cutout: tuple[float, float] = (0.001, 0.11),
    ) -> None:
        for name, value in (('shear', shear), ('translate', translate), ('rotate', rotate)):
            check_number(f'EventAugment.{name}', value, low=0)
        check_list('EventAugment.cutout', cutout, check_number, length=2, high=1, above=0)
        if cutout[0] > cutout[1]:
            raise ValueError(
                f'EventAugment.cutout={cutout!r}: expected (least, largest) share of the area'
            )
        self.largest = dict(
            shear_x=shear, translate_x=translate, translate_y=translate, rotate=rotate
        )
        self.cutout = cutout

    def transform(self, results: dict) -> dict:
        """Changes ``frames`` and notes the ``operation``."""
        operation = self.OPERATIONS[np.random.randint(len(self.OPERATIONS))]
        results['operation'] = operation
        if operation == 'cutout':
            results['frames'] = self._cut_out(results['frames'])
        elif operation != 'identity':
            strengths = torch.linspace(-1, 1, _BINS) * self.largest[operation]
            strength = strengths[np.random.randint(_BINS)].item()
            results['frames'] = _move(results['frames'], operation, strength)
        return results

    def _cut_out(self, frames: np.ndarray) -> np.ndarray:
        height, width = frames.shape[-2:]
        side = round(np.sqrt(np.random.uniform(*self.cutout) * height * width))
        side = min(max(side, 1), height, width)
        top = np.random.randint(height - side + 1)
        left = np.random.randint(width - side + 1)
        frames = frames.copy()
        frames[..., top : top + side, left : left + side] = 0
        return frames


def _move(frames: np.ndarray, operation: str, strength: float) -> np.ndarray:
    arguments = dict(angle=0.0, translate=[0, 0], scale=1.0, shear=[0.0, 0.0])
    if operation == 'shear_x':
        arguments['shear'] = [float(np.degrees(strength)), 0.0]
    elif operation == 'rotate':
        arguments['angle'] = strength
    else:
        arguments['translate'][operation == 'translate_y'] = int(strength)
    return F.affine(torch.from_numpy(frames), **arguments).numpy()
