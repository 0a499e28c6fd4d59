"""Scenes for detection and segmentation: real handwritten digits scattered over textured canvases.

A canvas is coloured noise of several scales; digits (scikit-learn's, each enlarged, turned and of
one colour) are pasted one after another, later ones in front. Boxes and masks are of what stays
visible. Every scene follows from the seed, the split and its number alone.
"""

from dataclasses import dataclass

import cv2
import numpy as np

# Pixels of a digit that show at least this much of its colour belong to it
OPACITY = 0.35
# A digit of which less than this share shows is not placed, nor may it hide as much of another
MIN_VISIBLE = 0.8
ATTEMPTS = 8
EMPTY_SHARE = 0.02


@dataclass
class Scene:
    """A picture and what is in it.

    Attributes:
        image (np.ndarray): ``[H, W, 3]`` uint8, RGB.
        instances (np.ndarray): ``[H, W]`` uint8: 0, or the number of the digit seen, from 1.
        labels (list[int]): The digit of each instance.
    """

    image: np.ndarray
    instances: np.ndarray
    labels: list[int]

    def masks(self) -> list[np.ndarray]:
        """A boolean ``[H, W]`` array for each instance."""
        return [self.instances == i + 1 for i in range(len(self.labels))]

    def label_map(self) -> np.ndarray:
        """``[H, W]`` uint8: 0 for the canvas, else 1 + the digit."""
        table = np.array([0, *(1 + label for label in self.labels)], np.uint8)
        return table[self.instances]


def texture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A canvas ``[H, W, 3]`` in 0 to 255: noise of several scales around one colour."""
    height, width = size
    canvas = np.zeros((height, width, 3), np.float32)
    for cell in (2, 4, 8, 16, 32):
        grid = rng.normal(size=(height // cell + 2, width // cell + 2, 3)).astype(np.float32)
        # Mostly grey, a little coloured
        grid = 0.8 * grid.mean(axis=2, keepdims=True) * 3**0.5 + 0.2 * grid
        layer = cv2.resize(grid, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        top, left = rng.integers(0, cell, 2)
        canvas += rng.uniform(0, 1) * layer[top : top + height, left : left + width]
    canvas *= rng.uniform(5, 20) / max(float(canvas.std()), 1e-6)
    return np.clip(rng.uniform(70, 185, 3) + canvas, 0, 255)


def stamp(rng: np.random.Generator, digit: np.ndarray, side: float) -> np.ndarray:
    """The opacity ``[h, w]``, 0 to 1, of a digit enlarged to ``side`` pixels, bent and turned."""
    box = int(np.ceil(side * 1.5))
    scale = side / digit.shape[0]
    stretch = rng.uniform(0.85, 1.15)
    angle, shear = np.deg2rad(rng.uniform(-12, 12)), rng.uniform(-0.15, 0.15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[stretch, shear], [0, 1 / stretch]]) * scale
    centre = (np.array(digit.shape[::-1]) - 1) / 2
    shift = (box - 1) / 2 - linear @ centre
    opacity = cv2.warpAffine(
        digit.astype(np.float32) / 255,
        np.column_stack([linear, shift]),
        (box, box),
        flags=cv2.INTER_CUBIC,
    )
    return np.clip(opacity, 0, 1)


def compose(
    rng: np.random.Generator,
    digits: list[tuple[np.ndarray, int]],
    size: tuple[int, int],
    max_digits: int,
    sides: tuple[float, float],
) -> Scene:
    """Draws a scene.

    Args:
        rng (np.random.Generator): Source of every choice.
        digits (list[tuple[np.ndarray, int]]): Images ``[8, 8]`` uint8 with their labels.
        size (tuple[int, int]): Height and width of the canvas.
        max_digits (int): A scene has 1 to so many digits, or, one in fifty, none.
        sides (tuple[float, float]): Smallest and largest side of a digit's image, in pixels.

    Returns:
        Scene: The scene.
    """
    image = texture(rng, size)
    instances = np.zeros(size, np.uint8)
    labels: list[int] = []
    areas: list[int] = []
    count = 0 if rng.random() < EMPTY_SHARE else int(rng.integers(1, max_digits + 1))
    for _ in range(count * ATTEMPTS):
        if len(labels) == count:
            break
        digit, label = digits[rng.integers(len(digits))]
        opacity = stamp(rng, digit, rng.uniform(*sides))
        seen, window = _place(rng, opacity, instances, areas)
        if seen is None:
            continue
        labels.append(label)
        areas.append(int(seen.sum()))
        instances[window][seen] = len(labels)
        alpha = opacity[..., None]
        image[window] = (1 - alpha) * image[window] + alpha * _ink(rng, image[window])
    image += rng.normal(scale=rng.uniform(0, 4), size=image.shape)
    return Scene(np.clip(np.round(image), 0, 255).astype(np.uint8), instances, labels)


def _place(
    rng: np.random.Generator, opacity: np.ndarray, instances: np.ndarray, areas: list[int]
) -> tuple[np.ndarray | None, tuple[slice, slice]]:
    """Where a digit goes and which pixels it takes, or None where it would hide another."""
    height, width = opacity.shape
    top = int(rng.integers(0, instances.shape[0] - height + 1))
    left = int(rng.integers(0, instances.shape[1] - width + 1))
    window = slice(top, top + height), slice(left, left + width)
    seen = opacity >= OPACITY
    remaining = instances.copy()
    remaining[window][seen] = 0
    counts = np.bincount(remaining.ravel(), minlength=len(areas) + 1)[1:]
    hides = any(left_over < MIN_VISIBLE * area for left_over, area in zip(counts, areas))
    return (None if hides or not seen.any() else seen), window


def _ink(rng: np.random.Generator, ground: np.ndarray) -> np.ndarray:
    """A colour that stands out from what it is drawn on, lighter or darker."""
    mean = ground.mean(axis=(0, 1))
    away = rng.uniform(70, 150, 3)
    lighter = rng.random() < 0.5 if 100 < mean.mean() < 155 else mean.mean() < 128
    return np.clip(mean + (away if lighter else -away), 0, 255)
