"""Pictures of what a network does."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import FigureBase
from torch import Tensor


def draw_masks(
    figure: FigureBase, image: np.ndarray, masks: Mapping[str, Tensor], sample: int = 0
) -> None:
    """Draws the token masks of an image, a row for each attention and a column for each step.

    The brightness of a token is its mask's mean over the heads: with binary neurons, whose scale
    is 0 to 1, the share of the heads that let it pass.

    Args:
        figure (FigureBase): Figure or part of one to draw into.
        image (np.ndarray): The image, grey ``[H, W]`` or RGB ``[H, W, 3]``.
        masks (Mapping[str, Tensor]): What
            :func:`~mmqkformer.analysis.record_token_masks` returns: by the attention's name
            ``[T, B, heads, H, W]``, on the CPU.
        sample (int): Which of the B samples is the image. Defaults to 0.

    Raises:
        ValueError: There is no mask.
    """
    if not masks:
        raise ValueError(f'masks={masks!r}: expected at least one')
    time_steps = max(mask.size(0) for mask in masks.values())
    brightest = max(1.0, *(float(mask.max()) for mask in masks.values()))
    axes = figure.subplots(len(masks), time_steps + 1, squeeze=False)
    for row, (name, mask) in zip(axes, masks.items()):
        row[0].imshow(image, cmap='gray_r')
        row[0].set_title(f'{name.replace(".blocks.", ".")}\n{mask.size(2)} heads', fontsize=8)
        for t, axis in enumerate(row[1:]):
            drawn = axis.imshow(mask[t, sample].mean(0), vmin=0, vmax=brightest)
            axis.set_title(f't = {t + 1}', fontsize=9)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    figure.colorbar(drawn, ax=axes, shrink=0.7)
