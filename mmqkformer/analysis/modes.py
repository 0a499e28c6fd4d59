"""A model in another mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Sets every module of a model to eval mode, and back to what it was.

    Args:
        model (nn.Module): The model.
    """
    # Flag by flag: parts of a model may be in modes of their own, and train() may freeze some
    training = {module: module.training for module in model.modules()}
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
