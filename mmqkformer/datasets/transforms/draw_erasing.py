"""Random erasing, drawn where the sample is seeded and done where the batch is mixed."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from ...checks import check_list, check_number

_ATTEMPTS = 10


@TRANSFORMS.register_module()
class DrawErasing(BaseTransform):
    """Draws the rectangle that ``ErasingDataPreprocessor`` will erase from the mixed image.

    An area a and an aspect ratio r give a rectangle of sqrt(a r) x sqrt(a / r) pixels. One that is
    not smaller than the image in both directions is drawn again, up to ten times; then nothing is
    erased. Behind everything that changes the image's size, before
    ``dict(type='PackInputs', algorithm_keys=('erased_box',))``.

    Args:
        erase_prob (float): How often. Defaults to 0.5.
        min_area_ratio (float): Least share of the area. Defaults to 0.02.
        max_area_ratio (float): Largest share, drawn evenly. Defaults to 1 / 3.
        aspect_range (tuple[float, float]): Least and largest height / width, drawn evenly on a
            logarithmic scale. Defaults to (0.3, 1 / 0.3).

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        erase_prob: float = 0.5,
        min_area_ratio: float = 0.02,
        max_area_ratio: float = 1 / 3,
        aspect_range: tuple[float, float] = (0.3, 1 / 0.3),
    ) -> None:
        check_number('DrawErasing.erase_prob', erase_prob, low=0, high=1)
        check_number('DrawErasing.max_area_ratio', max_area_ratio, above=0, high=1)
        check_number('DrawErasing.min_area_ratio', min_area_ratio, above=0, high=max_area_ratio)
        check_list('DrawErasing.aspect_range', aspect_range, check_number, length=2, above=0)
        if aspect_range[0] > aspect_range[1]:
            raise ValueError(
                f'DrawErasing.aspect_range={aspect_range!r}: expected (least, largest) height / '
                'width, 0 < least <= largest'
            )
        self.erase_prob = erase_prob
        self.area_range = (min_area_ratio, max_area_ratio)
        self.aspect_range = aspect_range

    def transform(self, results: dict) -> dict:
        """Adds ``erased_box``: top, left, height and width in pixels, all 0 for nothing."""
        results['erased_box'] = (0, 0, 0, 0)
        if np.random.random() < self.erase_prob:
            results['erased_box'] = self._draw(*results['img'].shape[:2])
        return results

    def _draw(self, height: int, width: int) -> tuple[int, int, int, int]:
        for _ in range(_ATTEMPTS):
            area = np.random.uniform(*self.area_range) * height * width
            aspect = np.exp(np.random.uniform(*np.log(self.aspect_range)))
            box = (round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect)))
            if box[0] < height and box[1] < width:
                top = np.random.randint(height - box[0] + 1)
                left = np.random.randint(width - box[1] + 1)
                return top, left, *box
        return 0, 0, 0, 0
