"""Seeds as functions of what is computed, not of what was computed before."""

import random

import numpy as np
import torch

# What is drawn: without them, iteration 5 and sample 5 of an epoch would draw the same numbers
ITERATIONS, SAMPLES = 1, 2


def seed_everything(*key: int) -> None:
    """Seeds Python's, NumPy's and PyTorch's generators from a tuple of numbers.

    Args:
        *key (int): Non-negative numbers, the first of which says what is drawn
            (:data:`ITERATIONS` or :data:`SAMPLES`); e.g. then seed, epoch and index. Different
            tuples of one length give independent streams.
    """
    state = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(state[1])
    torch.manual_seed(int(state[2]))
