"""Checkpoints of plain data, which load without unpickling objects."""

from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

_HISTORY = 'history_buffer'
_WEIGHTS = ('state_dict', 'ema_state_dict')


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Turns the Python objects in a checkpoint into plain data, and back where a run resumes.

    mmengine saves its log buffers as objects, which PyTorch's safe loading refuses. With this hook
    a checkpoint loads with ``torch.load(..., weights_only=True)``, so that resuming, testing,
    ``init_cfg`` and other frameworks work unmodified. Name it in ``custom_hooks``.
    """

    # Saved last: after the hooks that add to the checkpoint
    priority = 'LOWEST'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replaces what is not plain data, in place."""
        for key in checkpoint:
            if key not in _WEIGHTS:
                checkpoint[key] = to_plain(checkpoint[key], key)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rebuilds the log buffers that a resumed run goes on with, in place."""
        scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for key, value in scalars.items():
            if isinstance(value, dict) and _HISTORY in value:
                history = value[_HISTORY]
                scalars[key] = HistoryBuffer(
                    history['log'].numpy(), history['count'].numpy(), history['max_length']
                )


def to_plain(value: object, name: str) -> object:
    """Returns ``value`` as tensors, numbers, strings and containers of them.

    Args:
        value (object): What a checkpoint holds.
        name (str): Its name, for the warning about an object that only its text is kept of.
    """
    if value is None or type(value) in (bool, int, float, str, torch.Tensor):
        return value
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        return {
            _HISTORY: dict(
                log=torch.as_tensor(np.array(log, dtype=np.float64)),
                count=torch.as_tensor(np.array(count, dtype=np.float64)),
                max_length=value.max_length,
            )
        }
    if isinstance(value, Mapping):
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        return kind((key, to_plain(item, f'{name}.{key}')) for key, item in value.items())
    if isinstance(value, (list, tuple, set, deque)):
        kind = type(value) if type(value) in (tuple, set) else list
        return kind(to_plain(item, name) for item in value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.as_tensor(value)
    if isinstance(value, (torch.Tensor, torch.dtype)):
        return value
    if not isinstance(value, Path):
        print_log(
            f'checkpoint: {name} is {type(value).__name__}, of which only the text is saved',
            logger='current',
        )
    return str(value)
