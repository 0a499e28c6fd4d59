"""The event camera in software keeps to its equations."""

import numpy as np
import pytest

from mmqkformer.datasets.events.camera import EventCamera, film_image, saccade

IDEAL = dict(threshold_std=0.0, refractory_us=0, noise_rate=0.0)


def step(contrast, at=50_000, size=(6, 5)):
    """A scene that changes by a factor of e^contrast, linearly in log I, within 10 ms."""

    def scene(time_us):
        share = np.clip((time_us - at) / 10_000, 0, 1)
        return np.exp(np.full(size, contrast * share))

    return scene


@pytest.mark.parametrize(('contrast', 'polarity'), [(1.0, 1), (-1.0, 0)])
def test_a_change_of_k_thresholds_sends_k_events(contrast, polarity):
    camera = EventCamera((6, 5), threshold=0.1, **IDEAL)
    events = camera.film(step(contrast), 100_000).checked('film')
    assert set(events.p.tolist()) == {polarity}
    counts = np.bincount(events.y * 5 + events.x.astype(int), minlength=30)
    # 10 thresholds; where a pixel's memory lay at the beginning, evenly, decides about the last
    assert set(counts.tolist()) == {9, 10}
    assert counts.mean() == pytest.approx(9.5, abs=0.3)


def test_events_come_at_the_time_of_the_crossing():
    """Within a rendered step time is interpolated: 10 crossings, 1 ms apart, of steps of 4 ms."""
    camera = EventCamera((6, 5), threshold=0.1, **IDEAL)
    events = camera.film(step(1.0), 100_000, step_us=4000)
    assert events.t.min() >= 48_000  # log I is linear from 48 to 52 ms, where it rises from 50
    for x in range(5):
        for y in range(6):
            t = events.t[(events.x == x) & (events.y == y)]
            inner = t[(t >= 52_000) & (t <= 60_000)]
            assert len(inner) >= 7
            assert np.abs(np.diff(inner) - 1000).max() <= 1


def test_nothing_moves_nothing_is_sent():
    camera = EventCamera((6, 5), **IDEAL)
    assert len(camera.film(lambda t: np.full((6, 5), 0.5), 100_000)) == 0


def test_noise_is_a_poisson_process_of_its_rate():
    camera = EventCamera((20, 20), noise_rate=50.0, threshold_std=0.0)
    events = camera.film(lambda t: np.ones((20, 20)), 1_000_000)
    assert len(events) == pytest.approx(20_000, abs=5 * 20_000**0.5)
    counts = np.bincount(events.y.astype(int) * 20 + events.x, minlength=400)
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.3)
    assert events.p.mean() == pytest.approx(0.5, abs=0.02)
    assert np.histogram(events.t, 10, (0, 1_000_000))[0].min() > 1700


def test_a_pixel_is_dead_for_the_refractory_time():
    fast = EventCamera((6, 5), threshold=0.1, threshold_std=0.0, noise_rate=0.0, refractory_us=2500)
    events = fast.film(step(1.0), 100_000)
    for x in range(5):
        for y in range(6):
            t = events.t[(events.x == x) & (events.y == y)]
            assert 3 <= len(t) <= 5
            assert np.diff(t).min() >= 2500 - 1  # whole microseconds


def test_thresholds_differ_from_pixel_to_pixel():
    arguments = dict(IDEAL, threshold=0.1, threshold_std=0.02)
    events = EventCamera((20, 20), **arguments).film(step(2.0, size=(20, 20)), 100_000)
    counts = np.bincount(events.y.astype(int) * 20 + events.x, minlength=400)
    assert np.std(2.0 / counts) == pytest.approx(0.02, rel=0.3)


def test_the_saccade_is_a_closed_path_of_constant_speed():
    points = np.array([saccade(phase) for phase in np.linspace(0, 2, 801)])
    assert np.allclose(points[0], points[400])
    assert np.allclose(points[:401], points[400:])
    speeds = np.hypot(*np.diff(points, axis=0).T)
    assert np.allclose(speeds, speeds[0])
    assert np.allclose(points.min(0), -1)
    assert np.allclose(points.max(0), 1)


def bar(size=24):
    """A bright vertical bar."""
    image = np.zeros((size, size), np.uint8)
    image[:, 10:14] = 255
    return image


def test_a_film_is_a_function_of_its_seed():
    camera = EventCamera((24, 24))
    films = [film_image(bar(), camera, seed=seed) for seed in (1, 1, 2)]
    for name in 'txyp':
        assert np.array_equal(getattr(films[0], name), getattr(films[1], name))
    assert len(films[0]) != len(films[2])
    for film in films:
        film.checked('film')
        assert film.sensor_size == (24, 24)


def test_a_bar_that_moves_right_is_on_before_and_off_behind():
    """The first leg of the saccade goes right and down."""
    camera = EventCamera((40, 40), **IDEAL)
    film = film_image(bar(40), camera, duration_us=100_000, loops=1, amplitude=4.0)
    leg = film[film.t < 24_000]
    assert leg.x[leg.p == 1].mean() > leg.x[leg.p == 0].mean() + 3


def test_events_beyond_the_most_are_cut_off_in_time():
    camera = EventCamera((24, 24))
    whole = film_image(bar(), camera)
    cut = film_image(bar(), camera, max_events=500)
    assert len(cut) == 500 < len(whole)
    assert np.array_equal(cut.t, whole.t[:500])


def test_colours_are_filmed_by_their_brightness():
    camera = EventCamera((24, 24), **IDEAL)
    film = film_image(np.repeat(bar()[..., None], 3, axis=2), camera)
    assert len(film) == len(film_image(bar(), camera))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(sensor_size=(0, 5)), r'EventCamera\.sensor_size=\(0, 5\): expected a positive'),
        (dict(threshold=0), r'EventCamera\.threshold=0: expected a positive number'),
        (dict(threshold_std=1), r'EventCamera\.threshold_std=1: expected 0 to below threshold'),
        (dict(refractory_us=-1), r'EventCamera\.refractory_us=-1: expected 0 or more'),
        (dict(noise_rate=-1), r'EventCamera\.noise_rate=-1: expected 0 or more'),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        EventCamera(**{'sensor_size': (5, 5), **arguments})


def test_bad_images_are_named():
    camera = EventCamera((8, 8))
    with pytest.raises(ValueError, match=r'image of float64, shape \(4, 4\): expected uint8'):
        film_image(np.zeros((4, 4)), camera)
    with pytest.raises(ValueError, match=r'amplitude=4\.0: leaves nothing of 8 x 8 pixels'):
        film_image(bar(), camera, amplitude=4.0)
