"""Filmed archives have the original layouts: SpikingJelly and the preparation take them."""

import os
import runpy
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from event_streams import same
from PIL import Image
from spikingjelly.datasets.cifar10_dvs import CIFAR10DVS
from spikingjelly.datasets.dvs128_gesture import DVS128Gesture

from mmqkformer.datasets.events import EventError
from mmqkformer.datasets.events import film as films
from mmqkformer.datasets.events.aedat import read_aedat
from mmqkformer.datasets.events.camera import EventCamera
from mmqkformer.datasets.events.classes import CIFAR10, GESTURES
from mmqkformer.datasets.events.film import film_dvs128gesture, film_gesture, film_images

TOOL = Path(__file__).resolve().parents[3] / 'tools' / 'misc' / 'film_images.py'


@pytest.fixture
def film(monkeypatch):
    def run(*arguments):
        arguments = [str(argument) for argument in (*arguments, '--workers', 1)]
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *arguments])
        runpy.run_path(str(TOOL), run_name='__main__')

    return run


def test_digits_stand_in_for_cifar10dvs(film, tmp_path):
    film(
        *(tmp_path / 'src', '--layout', 'cifar10dvs', '--per-class', 2, '--archives'),
        *('--sensor-size', 48, 48),
    )
    names = {path.name for path in (tmp_path / 'src').iterdir()}
    assert names == {*CIFAR10, *(f'{name}.zip' for name in CIFAR10)}
    files = sorted(path.name for path in (tmp_path / 'src' / 'cat').iterdir())
    assert files == [f'cifar10_cat_{i}.aedat' for i in range(2)]
    for path in (tmp_path / 'src').glob('*.zip'):
        path.unlink()
    (tmp_path / 'raw').mkdir()
    CIFAR10DVS.create_raw_from_extracted(tmp_path / 'src', tmp_path / 'raw')
    events = read_aedat(tmp_path / 'src' / 'cat' / 'cifar10_cat_0.aedat', (48, 48))
    raw = np.load(tmp_path / 'raw' / 'cat' / 'cifar10_cat_0.npz')
    assert all(np.array_equal(raw[name], getattr(events, name)) for name in 'txyp')
    assert 10_000 < len(events) < 60_000


def test_ones_own_images_are_filmed_in_folders(film, tmp_path):
    for name in ('a', 'b'):
        (tmp_path / 'images' / name).mkdir(parents=True)
        for i in range(2):
            pixels = np.random.default_rng(i).integers(0, 255, (9, 7, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / 'images' / name / f'{i}.png')
    arguments = ('--images', tmp_path / 'images', '--sensor-size', 20, 30, '--max-events', 100)
    film(tmp_path / 'out', *arguments)
    files = sorted(str(p.relative_to(tmp_path / 'out')) for p in tmp_path.glob('out/*/*'))
    assert files == ['a/0000.aedat', 'a/0001.aedat', 'b/0000.aedat', 'b/0001.aedat']
    events = read_aedat(tmp_path / 'out' / files[0], (20, 30))
    assert len(events) == 100
    assert events.x.max() > 20
    with pytest.raises(SystemExit, match='expected CLASS/'):
        film(tmp_path / 'out', '--images', tmp_path)
    with pytest.raises(SystemExit, match='expected the classes of CIFAR-10'):
        film(tmp_path / 'out', *arguments, '--layout', 'cifar10dvs')


def test_digits_keep_their_splits(film, tmp_path):
    arguments = ('--per-class', 1, '--sensor-size', 20, 20, '--max-events', 50)
    film(tmp_path, *arguments)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob('*/*/*'))
    assert files == [
        f'{split}/{digit}/0000.aedat' for split in ('test', 'train', 'val') for digit in range(10)
    ]


def test_a_broken_run_keeps_what_is_there(tmp_path):
    images = [np.full((8, 8), 100, np.uint8)] * 3
    images[1] = np.eye(8, dtype=np.uint8) * 255
    paths = [tmp_path / f'{i}.aedat' for i in range(3)]
    camera = EventCamera((20, 20))
    film_images(images, paths, camera)
    whole = [path.read_bytes() for path in paths]
    paths[2].unlink()
    paths[0].write_bytes(b'kept')
    film_images(images, paths, camera, workers=2)
    assert [path.read_bytes() for path in paths] == [b'kept', *whole[1:]]


def test_a_film_whose_process_died_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(films, 'film_image', lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    images = [np.zeros((8, 8), np.uint8)] * 2
    with pytest.raises(EventError, match=r'0\.aedat: the process that filmed it died'):
        film_images(images, [tmp_path / f'{i}.aedat' for i in range(2)], EventCamera((20, 20)))
    assert not list(tmp_path.iterdir())


def test_gestures_have_the_archives_layout(tmp_path):
    camera = EventCamera((64, 64), noise_rate=0.1)
    folder = film_dvs128gesture(tmp_path, camera, users=2, duration_us=100_000)
    names = sorted(path.name for path in folder.iterdir())
    users = ['user01_fluorescent', 'user02_fluorescent']
    assert names == sorted(
        [f'{user}.aedat' for user in users]
        + [f'{user}_labels.csv' for user in users]
        + ['gesture_mapping.csv', 'trials_to_train.txt', 'trials_to_test.txt']
    )
    assert (folder / 'trials_to_test.txt').read_text() == 'user02_fluorescent.aedat\n'
    (tmp_path / 'raw').mkdir()
    DVS128Gesture.create_raw_from_extracted(tmp_path, tmp_path / 'raw')
    found = sorted(str(p.relative_to(tmp_path / 'raw')) for p in tmp_path.glob('raw/*/*/*.npz'))
    assert found == sorted(
        f'{split}/{label}/{user}_0.npz'
        for split, user in zip(('train', 'test'), users)
        for label in range(11)
    )


def test_gestures_move_as_they_are_called():
    camera = EventCamera((64, 64), noise_rate=0.0)
    films = {name: film_gesture(i, camera, 600_000, seed=0) for i, name in enumerate(GESTURES)}
    assert films['right_hand_wave'].x.mean() > 32 > films['left_hand_wave'].x.mean()
    for name, film in films.items():
        assert len(film.checked(name)) > 500
    # A wave goes from side to side, drums up and down
    assert films['right_hand_wave'].x.std() > 1.5 * films['right_hand_wave'].y.std()
    assert films['air_drums'].y.std() > 1.5 * films['air_drums'].x.std()
    # Which way a circle turns is the order of its places in time
    turns = {}
    for name in ('right_arm_clockwise', 'right_arm_counter_clockwise'):
        film = films[name]
        x, y = film.x - film.x.mean(), film.y - film.y.mean()
        parts = np.array_split(np.arange(len(film)), 40)
        angles = np.unwrap([np.arctan2(y[part].mean(), x[part].mean()) for part in parts])
        turns[name] = angles[-1] - angles[0]
    # y points down: a growing angle turns clockwise
    assert turns['right_arm_clockwise'] > np.pi
    assert turns['right_arm_counter_clockwise'] < -np.pi


def test_films_of_a_gesture_differ_by_their_seed():
    camera = EventCamera((32, 32), noise_rate=0.0)
    one, again, other = (film_gesture(3, camera, 100_000, seed=seed) for seed in (0, 0, 1))
    assert same(one, again)
    assert not same(one, other)
