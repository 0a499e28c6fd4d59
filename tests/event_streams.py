"""Random recordings for the tests of event data."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from mmqkformer.datasets.events import Events

# The same examples at every run, and no clock
quick = settings(max_examples=60, deadline=None, derandomize=True)


def random_events(count=500, size=(12, 9), seed=0, last=10_000, first=0):
    """``count`` events on a sensor of ``size``, several of them at one time."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(first, first + last, count))
    return Events(
        t,
        rng.integers(0, size[1], count, dtype=np.uint16),
        rng.integers(0, size[0], count, dtype=np.uint16),
        rng.integers(0, 2, count, dtype=np.uint8),
        size,
    )


def same(one, other):
    """Whether two recordings have the same events."""
    return one.sensor_size == other.sensor_size and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in 'txyp'
    )


@st.composite
def streams(draw, least=1, most=80, size=(5, 7), latest=2**32 - 1):
    """Recordings with repeated, bunched and far apart times."""
    steps = draw(
        st.lists(
            st.one_of(st.just(0), st.integers(0, 20), st.integers(0, latest // (most + 1))),
            min_size=least,
            max_size=most,
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = len(steps)
    return Events(
        np.cumsum(steps, dtype=np.int64),
        rng.integers(0, size[1], count, dtype=np.uint16),
        rng.integers(0, size[0], count, dtype=np.uint16),
        rng.integers(0, 2, count, dtype=np.uint8),
        size,
    )
