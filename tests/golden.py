"""The golden cases: released definitions, weights that are a function of their names."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / 'data' / 'golden'


def load_case(name: str) -> dict:
    """The case with its ``logits``."""
    case = json.loads((FOLDER / f'{name}.json').read_text())
    case['logits'] = torch.from_numpy(np.load(FOLDER / f'{name}.npz')['logits'])
    return case


def case_input(case: dict) -> Tensor:
    """Images [B, 3, H, W] or events [B, T, 2, H, W], float64."""
    rng = np.random.default_rng(case['seed'])
    if case['input'] == 'image':
        return torch.from_numpy(rng.standard_normal(case['shape']))
    return torch.from_numpy(rng.poisson(0.3, case['shape']).astype(np.float64))


def released_keys(keys_file: str) -> dict[str, list[int]]:
    """The released names with their shapes."""
    entries = json.loads((FOLDER / keys_file).read_text())
    return {name: e['shape'] if isinstance(e, dict) else e for name, e in entries.items()}


def released_state_dict(keys_file: str) -> dict[str, Tensor]:
    """The released names with their float64 values."""
    entries = json.loads((FOLDER / keys_file).read_text())
    return {
        name: _value(name, e['shape'], e['kind'])
        if isinstance(e, dict)
        else _value(name, e, _kind(name, e))
        for name, e in entries.items()
    }


def _kind(name: str, shape: list[int]) -> str:
    """The kind of an entry of the lists that do not say it, QKFormer's."""
    if name.endswith('num_batches_tracked'):
        return 'counter'
    leaf = name.rsplit('.', 1)[1]
    if leaf.startswith('running_'):
        return leaf
    if '_bn.' in name:
        return f'bn_{leaf}'
    return 'matrix' if len(shape) > 1 else 'vector'


def _value(name: str, shape: list[int], kind: str) -> Tensor:
    if kind == 'counter':
        return torch.zeros((), dtype=torch.int64)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    value = {
        'running_mean': lambda: rng.standard_normal(shape) * 0.1,
        'running_var': lambda: rng.random(shape) * 0.5 + 0.5,
        'bn_weight': lambda: rng.random(shape) + 1.0,
        'bn_bias': lambda: rng.standard_normal(shape) * 0.2 + 0.2,
        'matrix': lambda: rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:])),
        'vector': lambda: rng.standard_normal(shape) * 0.05,
        # Of the constructor; all that there are so far are dropped
        'keep': lambda: np.zeros(shape),
    }[kind]()
    return torch.from_numpy(value)
