"""The golden cases: released definitions, weights that are a function of their names."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / 'data' / 'golden'
EVAL_CASES = [
    'hst-10-384_t4_64px_b1',
    'hst-10-384_t4_224px_b1',
    'hst-4-384_cifar100_t4_b1',
    'hst-4-384_cifar100_t4_b3_leaky',
    'hst-2-256_cifar10dvs_t16_b1',
]
TRAIN_CASE = 'hst-4-384_cifar100_t4_b1_train'


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


def released_state_dict(keys_file: str) -> dict[str, Tensor]:
    """The released names with their float64 values."""
    shapes = json.loads((FOLDER / keys_file).read_text())
    return {name: _value(name, shape) for name, shape in shapes.items()}


def _value(name: str, shape: list[int]) -> Tensor:
    if name.endswith('num_batches_tracked'):
        return torch.zeros((), dtype=torch.int64)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith('running_mean'):
        value = rng.standard_normal(shape) * 0.1
    elif name.endswith('running_var'):
        value = rng.random(shape) * 0.5 + 0.5
    elif '_bn.' in name and name.endswith('weight'):
        value = rng.random(shape) + 1.0
    elif '_bn.' in name and name.endswith('bias'):
        value = rng.standard_normal(shape) * 0.2 + 0.2
    elif len(shape) > 1:
        value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    else:
        value = rng.standard_normal(shape) * 0.05
    return torch.from_numpy(value)
