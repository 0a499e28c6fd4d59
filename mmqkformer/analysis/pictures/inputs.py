"""What a network was given, as pictures."""

import numpy as np
from torch import Tensor, nn

from ...datasets.events.pictures import polarity_image, saturation_of

# What tells it in mmpretrain, mmdet and mmsegmentation
_SWAPS = ('to_rgb', '_channel_conversion', 'channel_conversion')


def input_pictures(preprocessor: nn.Module, inputs: Tensor) -> np.ndarray:
    """The prepared batch as RGB images: what the network sees, cropped and scaled as it does.

    Args:
        preprocessor (nn.Module): The model's data preprocessor, whose normalisation is undone.
        inputs (Tensor): Images ``[B, 3, H, W]`` or frames of events ``[B, T, 2 or 3, H, W]``.

    Returns:
        np.ndarray: uint8, ``[B, T, H, W, 3]``; of images T is 1.
    """
    inputs = inputs.detach().cpu()
    if hasattr(preprocessor, 'polarities'):
        frames = inputs[:, :, : preprocessor.polarities].numpy()
        images = [[polarity_image(frame, saturation_of(film)) for frame in film] for film in frames]
        return _pixels(np.array(images))
    if getattr(preprocessor, '_enable_normalize', False):
        inputs = inputs * preprocessor.std.cpu() + preprocessor.mean.cpu()
    images = inputs.movedim(1, -1).numpy()[:, None] / 255
    # A preprocessor that does not swap the channels leaves them as OpenCV read them
    swapped = any(getattr(preprocessor, name, False) for name in _SWAPS)
    return _pixels(images if swapped else images[..., ::-1])


def _pixels(images: np.ndarray) -> np.ndarray:
    """uint8 of 0 to 1."""
    return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
