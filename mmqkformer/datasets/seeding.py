"""Seeds as functions of what is computed, not of what was computed before."""

import random

import numpy as np
import torch


def seed_everything(*key: int) -> None:
    """Seeds Python's, NumPy's and PyTorch's generators from a tuple of numbers.

    Args:
        *key (int): Non-negative numbers, e.g. seed, epoch and index. Different tuples give
            independent streams.
    """
    state = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(state[1])
    torch.manual_seed(int(state[2]))
