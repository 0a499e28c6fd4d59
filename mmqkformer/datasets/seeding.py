"""Seeds as functions of what is computed, not of what was computed before."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# What is drawn: without them, iteration 5 and sample 5 of an epoch would draw the same numbers
ITERATIONS, SAMPLES, STATISTICS = 1, 2, 3


def seed_everything(*key: int) -> None:
    """Seeds Python's, NumPy's and PyTorch's generators, of all devices, from a tuple of numbers.

    Args:
        *key (int): Non-negative numbers, the first of which says what is drawn
            (:data:`ITERATIONS`, :data:`SAMPLES`, :data:`STATISTICS`); e.g. then seed, epoch and
            index. Different tuples of one length give independent streams.
    """
    torch.manual_seed(seed_cpu(*key))


def seed_cpu(*key: int) -> int:
    """Seeds the same generators as :func:`seed_everything`, PyTorch's of the CPU alone.

    Args:
        *key (int): As for :func:`seed_everything`, which gives the CPU the same streams.

    Returns:
        int: The seed of PyTorch's.
    """
    state = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(state[1])
    seed = int(state[2])
    torch.default_generator.manual_seed(seed)
    return seed


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seeds the generators for a while; what they would have drawn before, they draw after.

    Args:
        *key (int): As for :func:`seed_everything`.
    """
    states = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        seed_everything(*key)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
