"""An event camera in software."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .stream import Events

# A path: phase of a loop, 0 to 1 -> place (x, y), -1 to 1
Path2d = Callable[[float], tuple[float, float]]
DARK = 0.1  # intensity of black; white is 1


@dataclass(frozen=True)
class EventCamera:
    """Pixels that report changes of their logarithmic intensity.

    A pixel keeps the logarithm ``M`` at its last event. Whenever ``|log I(t) - M|`` reaches its
    threshold ``C`` it sends an event, of polarity ON if it got brighter and OFF if darker, and
    ``M`` moves by ``C`` in that direction (Lichtsteiner, Posch and Delbruck, JSSC 2008). Between
    two rendered images ``log I`` is taken as linear in time, so that one step can send several
    events, each at its own time (ESIM: Rebecq, Gehrig and Scaramuzza, CoRL 2018). Thresholds
    differ from pixel to pixel, ``C ~ N(threshold, threshold_std)``; background noise is a Poisson
    process of ``noise_rate`` per pixel, with polarities by chance, that leaves ``M`` alone (v2e:
    Hu, Liu and Delbruck, CVPRW 2021). An event less than ``refractory_us`` after the last one of
    its pixel is not sent; ``M`` moves all the same, as in ESIM. At the beginning ``M`` lies
    anywhere within a threshold of ``log I``: pixels that all began at it would all fire at the
    moment when a closed path ends.

    Args:
        sensor_size (tuple[int, int]): Height and width in pixels.
        threshold (float): Mean of C, in units of the natural logarithm. Defaults to 0.25.
        threshold_std (float): Its standard deviation. Defaults to 0.03.
        refractory_us (int): Dead time of a pixel in microseconds. Defaults to 500.
        noise_rate (float): Noise events per pixel and second. Defaults to 0.5.

    Raises:
        ValueError: A value is out of range.
    """

    sensor_size: tuple[int, int]
    threshold: float = 0.25
    threshold_std: float = 0.03
    refractory_us: int = 500
    noise_rate: float = 0.5

    def __post_init__(self) -> None:
        expected = {
            'sensor_size': (min(self.sensor_size) >= 1, 'a positive height and width'),
            'threshold': (self.threshold > 0, 'a positive number'),
            'threshold_std': (0 <= self.threshold_std < self.threshold, '0 to below threshold'),
            'refractory_us': (self.refractory_us >= 0, '0 or more'),
            'noise_rate': (self.noise_rate >= 0, '0 or more'),
        }
        for name, (fits, words) in expected.items():
            if not fits:
                raise ValueError(f'EventCamera.{name}={getattr(self, name)!r}: expected {words}')

    def film(
        self,
        scene: Callable[[float], np.ndarray],
        duration_us: int,
        step_us: int = 1000,
        seed: int | tuple[int, ...] = 0,
        max_events: int | None = None,
    ) -> Events:
        """Films a scene.

        Args:
            scene (Callable): Microseconds -> intensities in front of the sensor, positive,
                ``[H, W]``.
            duration_us (int): Length of the film in microseconds.
            step_us (int): Microseconds between two rendered images. Defaults to 1000.
            seed (int | tuple[int, ...]): Seed of thresholds and noise. Defaults to 0.
            max_events (int | None): Where the film is cut off in time. Defaults to None.

        Returns:
            Events: In the order of time; those of one microsecond by pixel, row by row. There may
            be none.
        """
        rng = np.random.default_rng(seed)
        threshold = rng.normal(self.threshold, self.threshold_std, self.sensor_size).ravel()
        np.maximum(threshold, 0.1 * self.threshold, out=threshold)
        columns = [self._noise(rng, duration_us)]
        before = np.log(scene(0.0)).ravel()
        memory = before + threshold * rng.uniform(-1, 1, before.shape)
        last = np.full(memory.shape, -np.inf)
        for begin in range(0, duration_us, step_us):
            end = min(begin + step_us, duration_us)
            now = np.log(scene(float(end))).ravel()
            columns += self._crossings(before, now, memory, threshold, last, begin, end)
            before = now
        t, pixel, p = (np.concatenate(parts) for parts in zip(*columns))
        t = np.minimum(t.astype(np.int64), duration_us - 1)
        order = np.lexsort((p, pixel, t))[:max_events]
        y, x = np.divmod(pixel[order], self.sensor_size[1])
        return Events(
            t[order], x.astype(np.uint16), y.astype(np.uint16), p[order], self.sensor_size
        )

    def _noise(self, rng: np.random.Generator, duration_us: int) -> tuple[np.ndarray, ...]:
        pixels = self.sensor_size[0] * self.sensor_size[1]
        count = rng.poisson(self.noise_rate * pixels * duration_us / 1e6)
        return (
            rng.uniform(0, duration_us, count),
            rng.integers(0, pixels, count),
            rng.integers(0, 2, count, dtype=np.uint8),
        )

    def _crossings(
        self,
        before: np.ndarray,
        now: np.ndarray,
        memory: np.ndarray,
        threshold: np.ndarray,
        last: np.ndarray,
        begin: int,
        end: int,
    ) -> list[tuple[np.ndarray, ...]]:
        """Events of a step; ``memory`` and ``last`` (time of the last event) move in place."""
        found = []
        pixel = np.flatnonzero(np.abs(now - memory) >= threshold)
        while len(pixel):
            rises = now[pixel] > memory[pixel]
            level = memory[pixel] + np.where(rises, threshold[pixel], -threshold[pixel])
            change = now[pixel] - before[pixel]
            share = np.divide(
                level - before[pixel], change, out=np.zeros_like(level), where=change != 0
            )
            t = begin + np.clip(share, 0, 1) * (end - begin)
            memory[pixel] = level
            sent = t - last[pixel] >= self.refractory_us
            last[pixel[sent]] = t[sent]
            found.append((t[sent], pixel[sent], rises[sent].astype(np.uint8)))
            pixel = pixel[np.abs(now[pixel] - memory[pixel]) >= threshold[pixel]]
        return found


def saccade(phase: float) -> tuple[float, float]:
    """A closed path of four diagonal legs, passed at constant speed.

    CIFAR10-DVS was recorded with images that move on such closed paths, again and again (Li, Liu,
    Ji, Li and Shi, Frontiers in Neuroscience 2017); diagonal legs excite edges of all directions
    but one.

    Args:
        phase (float): 0 to 1, the loop; larger values repeat it.

    Returns:
        tuple[float, float]: x and y, -1 to 1, from (0, -1) over (1, 0), (0, 1) and (-1, 0) back.
    """
    leg, share = divmod(phase % 1.0 * 4, 1.0)
    corners = ((0, -1), (1, 0), (0, 1), (-1, 0), (0, -1))
    (x0, y0), (x1, y1) = corners[int(leg)], corners[int(leg) + 1]
    return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share


def film_image(
    image: np.ndarray,
    camera: EventCamera,
    duration_us: int = 300_000,
    loops: int = 2,
    amplitude: float = 3.0,
    path: Path2d = saccade,
    seed: int | tuple[int, ...] = 0,
    max_events: int | None = None,
) -> Events:
    """Films an image that moves before the camera.

    The image fills the sensor less a margin; its border goes on outside. It is sampled between
    pixels bilinearly.

    Args:
        image (np.ndarray): Grey ``[h, w]`` or RGB ``[h, w, 3]``, uint8.
        camera (EventCamera): The camera.
        duration_us (int): Microseconds of the film. Defaults to 300,000.
        loops (int): How often the path is passed. Defaults to 2.
        amplitude (float): Pixels of the sensor that -1 and 1 of the path mean. Defaults to 3.
        path (Path2d): Phase of a loop -> place. Defaults to :func:`saccade`.
        seed (int | tuple[int, ...]): See :meth:`EventCamera.film`. Defaults to 0.
        max_events (int | None): See :meth:`EventCamera.film`. Defaults to None.

    Returns:
        Events: The film.

    Raises:
        ValueError: The image is not uint8 of one or three colours, or the margin leaves nothing.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(
            f'image of {image.dtype}, shape {image.shape}: expected uint8 [h, w] or [h, w, 3]'
        )
    height, width = camera.sensor_size
    margin = int(np.ceil(amplitude))
    inner = (width - 2 * margin, height - 2 * margin)
    if min(inner) < 1:
        raise ValueError(f'amplitude={amplitude!r}: leaves nothing of {height} x {width} pixels')
    grey = Image.fromarray(image).convert('L').resize(inner, Image.Resampling.BILINEAR)
    canvas = np.pad(np.asarray(grey, np.float64) / 255, 2 * margin + 1, mode='edge')
    canvas = DARK + (1 - DARK) * canvas

    def scene(time_us: float) -> np.ndarray:
        x, y = path(time_us / duration_us * loops)
        # The window that the sensor sees moves against the image
        return _window(
            canvas, margin + 1 - amplitude * y, margin + 1 - amplitude * x, height, width
        )

    return camera.film(scene, duration_us, seed=seed, max_events=max_events)


def _window(canvas: np.ndarray, top: float, left: float, height: int, width: int) -> np.ndarray:
    """``[height, width]`` of the canvas from a place between its pixels, bilinearly."""
    row, column = int(top), int(left)
    dy, dx = top - row, left - column
    part = canvas[row : row + height + 1, column : column + width + 1]
    rows = (1 - dy) * part[:-1] + dy * part[1:]
    return (1 - dx) * rows[:, :-1] + dx * rows[:, 1:]
