"""Reads released files, which nobody has to trust."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .table import UnknownCheckpointError


def load_released(path: str | Path, use_ema: bool = False) -> Mapping[str, Tensor]:
    """Reads a released file without running any code that it may hold.

    Known forms: ``{'model': ...}``, ``{'net': ...}``, timm's ``{'state_dict': ...}`` with or
    without ``state_dict_ema``, or a bare state dict.

    Args:
        path (str | Path): The file.
        use_ema (bool): Whether to take ``state_dict_ema``. Defaults to False.

    Returns:
        Mapping[str, Tensor]: The released state dict.

    Raises:
        FileNotFoundError: There is no such file.
        UnknownCheckpointError: It does not load safely, or has none of these forms.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file')
    numpy_scalars = [np.dtype, np.ndarray, *{type(np.dtype(c)) for c in 'bBhHiIlLqQefd?'}]
    scalar = np.float64(0).__reduce__()[0]
    reconstruct = np.zeros(1).__reduce__()[0]
    try:
        with torch.serialization.safe_globals(
            [argparse.Namespace, scalar, reconstruct, *numpy_scalars]
        ):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise UnknownCheckpointError(
            f'{path}: not a checkpoint that loads safely: {error}'
        ) from error
    if not isinstance(content, Mapping):
        raise UnknownCheckpointError(
            f'{path}: holds {type(content).__name__}: expected a state dict, or a dict with one'
        )
    if use_ema:
        if not isinstance(content.get('state_dict_ema'), Mapping):
            raise UnknownCheckpointError(f"{path}: has no state dict 'state_dict_ema'")
        return content['state_dict_ema']
    for key in ('model', 'state_dict', 'net'):
        if isinstance(content.get(key), Mapping):
            return content[key]
    return content
