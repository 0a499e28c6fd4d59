"""Films whole image sets into archives of the original layouts."""

import functools
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...files import written_whole
from .camera import DARK, EventCamera, film_image
from .classes import GESTURES
from .parallel import in_order
from .stream import EventError, Events
from .write_aedat import write_aedat2, write_aedat3

# Hands of the film: place of the circle's middle, its radii in x and y (shares of the sensor), and
# turns per second (negative: counter-clockwise); one for each of GESTURES.
_MOTIONS = (
    (0.5, 0.5, 0.25, 0.0, 3.0),
    (0.7, 0.4, 0.2, 0.0, 2.0),
    (0.3, 0.4, 0.2, 0.0, 2.0),
    (0.65, 0.5, 0.22, 0.22, 1.5),
    (0.65, 0.5, 0.22, 0.22, -1.5),
    (0.35, 0.5, 0.22, 0.22, 1.5),
    (0.35, 0.5, 0.22, 0.22, -1.5),
    (0.5, 0.5, 0.3, 0.1, 2.0),
    (0.5, 0.6, 0.0, 0.25, 3.0),
    (0.4, 0.65, 0.1, 0.15, 2.5),
    (0.5, 0.3, 0.1, 0.25, -1.0),
)
LIGHTS = ('fluorescent', 'fluorescent_led', 'lab', 'led', 'natural')


def film_images(
    images: Sequence[np.ndarray],
    paths: Sequence[str | Path],
    camera: EventCamera,
    seed: int = 0,
    max_events: int | None = None,
    workers: int = 1,
    **kwargs,
) -> None:
    """Films every image into an AEDAT 2.0 file; files that exist are kept.

    Args:
        images (Sequence[np.ndarray]): See :func:`~mmqkformer.datasets.events.camera.film_image`.
        paths (Sequence[str | Path]): File of each image.
        camera (EventCamera): The camera, of at most 128 x 128 pixels.
        seed (int): Seed; each film draws from (seed, its number). Defaults to 0.
        max_events (int | None): Events at which a film is cut off. Defaults to None.
        workers (int): Processes. Defaults to 1.
        **kwargs: Further arguments of ``film_image``.
    """
    tasks = [(i, image, Path(path)) for i, (image, path) in enumerate(zip(images, paths))]
    tasks = [task for task in tasks if not task[2].exists()]
    film = functools.partial(
        _film_one, camera=camera, seed=seed, max_events=max_events, kwargs=kwargs
    )
    _run(film, tasks, workers, 'films')


def _film_one(
    task: tuple[int, np.ndarray, Path],
    camera: EventCamera,
    seed: int,
    max_events: int | None,
    kwargs: dict,
) -> None:
    number, image, path = task
    events = film_image(image, camera, seed=(seed, number), max_events=max_events, **kwargs)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aedat2(path, events)


def film_gesture(
    gesture: int,
    camera: EventCamera,
    duration_us: int,
    seed: int | tuple[int, ...],
    max_events: int | None = None,
) -> Events:
    """Films a bright disc, the hand, that moves as one of eleven gestures.

    The motions stand in for people's: they have the sides, directions and rhythms that the names
    of the gestures say. Size, place and speed differ with the seed.

    Args:
        gesture (int): 0 to 10, see ``GESTURES``.
        camera (EventCamera): The camera.
        duration_us (int): Microseconds of the film.
        seed (int | tuple[int, ...]): Seed.
        max_events (int | None): Events at which the film is cut off. Defaults to None.

    Returns:
        Events: The film.
    """
    rng = np.random.default_rng((*np.atleast_1d(seed).tolist(), gesture))
    height, width = camera.sensor_size
    x0, y0, rx, ry, turns = _MOTIONS[gesture]
    x0, y0 = x0 + rng.uniform(-0.05, 0.05), y0 + rng.uniform(-0.05, 0.05)
    turns *= rng.uniform(0.85, 1.15)
    start = rng.uniform(0, 2 * np.pi)
    radius = min(height, width) * rng.uniform(0.07, 0.1)
    rows, columns = np.mgrid[:height, :width]

    def scene(time_us: float) -> np.ndarray:
        angle = start + 2 * np.pi * turns * time_us / 1e6
        x = (x0 + rx * np.cos(angle)) * width
        y = (y0 + ry * np.sin(angle)) * height
        # An edge one pixel wide
        covered = np.clip(radius - np.hypot(columns - x, rows - y) + 0.5, 0, 1)
        return DARK + (1 - DARK) * covered

    return camera.film(scene, duration_us, step_us=2000, seed=seed, max_events=max_events)


def film_dvs128gesture(
    root: str | Path,
    camera: EventCamera,
    users: int = 29,
    lights: int = 1,
    duration_us: int = 1_000_000,
    seed: int = 0,
    max_events: int | None = None,
    workers: int = 1,
) -> Path:
    """Films a ``DvsGesture`` folder with the layout of the DVS128 Gesture archive.

    Each recording ``userNN_LIGHT.aedat`` (AEDAT 3.1) holds all eleven gestures one after the
    other, with pauses; its label file tells when. Of every 29 users 23 train.

    Args:
        root (str | Path): Folder to make ``DvsGesture`` in; recordings that exist are kept.
        camera (EventCamera): The camera.
        users (int): Number of people. Defaults to 29.
        lights (int): Illuminations, 1 to 5, a recording each. Defaults to 1.
        duration_us (int): Microseconds of a gesture. Defaults to 1,000,000.
        seed (int): Seed. Defaults to 0.
        max_events (int | None): Events at which a gesture is cut off. Defaults to None.
        workers (int): Processes. Defaults to 1.

    Returns:
        Path: The folder ``DvsGesture``.
    """
    folder = Path(root) / 'DvsGesture'
    folder.mkdir(parents=True, exist_ok=True)
    names = [f'user{user:02d}_{light}' for user in range(1, users + 1) for light in LIGHTS[:lights]]
    film = functools.partial(
        _film_recording,
        folder=folder,
        camera=camera,
        duration_us=duration_us,
        seed=seed,
        max_events=max_events,
    )
    tasks = [(i, name) for i, name in enumerate(names) if not (folder / f'{name}.aedat').exists()]
    _run(film, tasks, workers, 'recordings')
    trained = max(1, min(users - 1, round(users * 23 / 29))) * lights
    for split, listed in (('train', names[:trained]), ('test', names[trained:])):
        text = ''.join(f'{name}.aedat\n' for name in listed)
        (folder / f'trials_to_{split}.txt').write_text(text)
    mapping = ''.join(f'{name},{i}\n' for i, name in enumerate(GESTURES, start=1))
    (folder / 'gesture_mapping.csv').write_text('action,label\n' + mapping)
    return folder


def _film_recording(
    task: tuple[int, str],
    folder: Path,
    camera: EventCamera,
    duration_us: int,
    seed: int,
    max_events: int | None,
) -> None:
    number, name = task
    pause, begin, columns, rows = duration_us // 10, 0, [], []
    for gesture in range(len(GESTURES)):
        begin += pause
        events = film_gesture(gesture, camera, duration_us, (seed, number), max_events)
        columns.append((events.t + begin, events.x, events.y, events.p))
        rows.append(f'{gesture + 1},{begin},{begin + duration_us}\n')
        begin += duration_us
    columns = [np.concatenate(parts) for parts in zip(*columns)]
    text = 'class,startTime_usec,endTime_usec\n' + ''.join(rows)
    # The recording last: its presence says that both are there
    (folder / f'{name}_labels.csv').write_text(text)
    write_aedat3(folder / f'{name}.aedat', Events(*columns, camera.sensor_size))


def pack_zips(root: str | Path) -> None:
    """Packs each class folder of CIFAR10-DVS's layout to ``CLASS.zip`` as downloaded."""
    root = Path(root)
    for folder in tqdm(sorted(path for path in root.iterdir() if path.is_dir()), desc='zips'):
        with (
            written_whole(root / f'{folder.name}.zip') as partial,
            zipfile.ZipFile(partial, 'w', zipfile.ZIP_DEFLATED) as archive,
        ):
            for path in sorted(folder.glob('*.aedat')):
                archive.write(path, f'{folder.name}/{path.name}')


def pack_tar(folder: str | Path) -> Path:
    """Packs ``DvsGesture`` to ``DvsGesture.tar.gz`` as downloaded, beside the folder."""
    folder = Path(folder)
    packed = folder.with_name(f'{folder.name}.tar.gz')
    with written_whole(packed) as partial, tarfile.open(partial, 'w:gz') as archive:
        for path in tqdm(sorted(folder.iterdir()), desc='tar.gz'):
            archive.add(path, f'{folder.name}/{path.name}')
    return packed


def _run(function: Callable, tasks: list, workers: int, unit: str) -> None:
    """Films, with a progress bar."""
    with (
        tqdm(total=len(tasks), desc=unit) as bar,
        closing(in_order(function, tasks, workers, _died)) as films,
    ):
        for _ in films:
            bar.update()


def _died(task: tuple) -> None:
    raise EventError(f'{task[-1]}: the process that filmed it died (killed, or out of memory)')
